package schema

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// maxText bounds each text of a violation, in bytes.
const maxText = 200

// Violation is the first fault of a value: of several, the one whose Pointer is the least.
type Violation struct {
	// Pointer is the JSON Pointer of the part of the value at fault; empty for the whole value.
	Pointer string
	// Problem says what is wrong with it.
	Problem string
	// Rule is the JSON Pointer of the schema's keyword that refuses it; empty if no keyword does, because the value cannot be checked.
	Rule string
}

// String returns all of it in one line.
func (v *Violation) String() string {
	text := v.at() + ": " + v.Problem
	if v.Rule != "" {
		text += " (schema " + v.Rule + ")"
	}
	return text
}

func (v *Violation) at() string {
	if v.Pointer == "" {
		return "the value"
	}
	return v.Pointer
}

var english = message.NewPrinter(language.English)

// violation returns the first fault of a value that the schema refuses.
func violation(err *jsonschema.ValidationError) *Violation {
	var all []*jsonschema.ValidationError
	collect(err, &all)
	first := slices.MinFunc(all, func(a, b *jsonschema.ValidationError) int {
		return cmp.Or(slices.Compare(a.InstanceLocation, b.InstanceLocation), strings.Compare(rule(a), rule(b)))
	})
	return &Violation{
		Pointer: oneLine(pointer(first.InstanceLocation)), Problem: oneLine(problem(first)), Rule: oneLine(rule(first)),
	}
}

// collect adds the faults below err to all. The faults of the alternatives of an anyOf are none: the fault is that none fits.
func collect(err *jsonschema.ValidationError, all *[]*jsonschema.ValidationError) {
	switch err.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range err.Causes {
			collect(cause, all)
		}
		if len(err.Causes) > 0 {
			return
		}
	}
	*all = append(*all, err)
}

// problem returns what is wrong. If no alternative of an anyOf or oneOf fits, it includes the first faults of those.
func problem(err *jsonschema.ValidationError) string {
	text := err.ErrorKind.LocalizedString(english)
	if len(err.Causes) == 0 {
		return text
	}
	var causes []string
	for _, cause := range err.Causes[:min(len(err.Causes), 3)] {
		causes = append(causes, violation(cause).Problem)
	}
	return text + ": " + strings.Join(causes, ", or ")
}

// rule returns the pointer of the keyword that refuses the value.
func rule(err *jsonschema.ValidationError) string {
	_, fragment, _ := strings.Cut(err.SchemaURL, "#")
	return fragment + pointer(err.ErrorKind.KeywordPath())
}

func pointer(path []string) string {
	var b strings.Builder
	for _, token := range path {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// oneLine returns text without control characters, cut to maxText bytes.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..."
}
