package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// dialect are phrases that no comment and no text of non-test code may have. Their plain forms are in CONTRIBUTING.md.
var dialect = []*regexp.Regexp{
	// Passive forms without an actor.
	regexp.MustCompile(`(?i)\b(is|are|was|were|be|been|being|gets?) (not |never |no longer |also |already |then |again |only |still )?` +
		`(had|told|asked|said|let|heard|begun|got|spoken|waited for|cared for|looked (at|for|up|into|behind)|gone (on|over|through)|` +
		`taken (in|note|over|away)|given( up| out| back| away)?|made (anew|again|up|good)|come (back|by)|known of|thought of|put (off|away|aside)|seen to)\b`),
	// A pronoun in place of the caller, reader, publisher, instance, relay or operator.
	regexp.MustCompile(`(?:^|[.;:] )(Who|What|Whoever|Whatever|That which|Whichever|Nobody|Somebody|Nothing that)\b[^?]*$`),
	// Words of the project's old dialect.
	regexp.MustCompile(`(?i)\b(anew|meanwhile|beside|all the same|by itself|by themselves|for want of|thereby|of its own|of their own|whoever|somebody|nobody)\b`),
}

// plain are sentences that the patterns match and that are plain: comments of a field that is called What, and possessives.
var plain = regexp.MustCompile(`^What (is repaired|names the requested thing)|one of its own operations`)

func TestPlainWords(t *testing.T) {
	sources(t, func(name string, text []byte) {
		if isTest(name) || strings.HasPrefix(name, "scripts/tools/rules/") {
			return
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		check := func(at token.Pos, text string) {
			for sentence := range strings.SplitSeq(strings.Join(strings.Fields(text), " "), ". ") {
				for _, d := range dialect {
					if m := d.FindString(sentence); m != "" && !plain.MatchString(sentence) {
						t.Errorf("%v: %.40q in %.160q: say it in plain words, see CONTRIBUTING.md", files.Position(at), m, sentence)
					}
				}
			}
		}
		for _, group := range file.Comments {
			check(group.Pos(), group.Text())
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(text, " ") {
					check(lit.Pos(), text)
				}
			}
			return true
		})
	})
}
