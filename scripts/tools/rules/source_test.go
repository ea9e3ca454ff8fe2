package rules

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root returns the repository's root: the folder that go.work lies in.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.work")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sources calls f for every Go file that git tracks or would track.
func sources(t *testing.T, f func(name string, text []byte)) {
	t.Helper()
	dir := root(t)
	out, err := exec.Command("git", "-C", dir, "ls-files", "-co", "--exclude-standard", "*.go").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSpace(name)
		text, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) {
			continue // deleted and not yet committed
		} else if err != nil {
			t.Fatal(err)
		}
		f(name, text)
	}
}

// maxLines keeps a file to one idea.
const maxLines = 400

func TestFilesAreSmall(t *testing.T) {
	sources(t, func(name string, text []byte) {
		if n := bytes.Count(text, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, the most is %d: split it where it holds two ideas", name, n, maxLines)
		}
	})
}

// refused are patterns that no line of ours may hold, and where they are looked for.
var refused = []struct {
	pattern *regexp.Regexp
	in      func(name string) bool
	unless  string // a word that makes it right in a file that has it
	why     string
}{
	{regexp.MustCompile(`\bt\.Skip(Now|f)?\(`), isTest, "", "a skipped test proves nothing: what is missing must fail"},
	{regexp.MustCompile(`\btime\.Sleep\(`), isTest, "synctest", "wait on a condition, or use testing/synctest"},
	{regexp.MustCompile(`\bos\.Exit\(|\bsignal\.Notify`), isLibrary, "", "only a program's main takes signals or exits"},
	{regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`), func(string) bool { return true }, "", "do it, or open an issue"},
	{regexp.MustCompile(`\bhttp\.(DefaultClient|DefaultTransport|Get\(|Post\()`), isLibrary, "", "every user of HTTP has a connection pool of its own"},
}

func isTest(name string) bool    { return strings.HasSuffix(name, "_test.go") }
func isLibrary(name string) bool { return strings.HasPrefix(name, "pkg/") && !isTest(name) }

func TestRefusedPatterns(t *testing.T) {
	sources(t, func(name string, text []byte) {
		if strings.HasPrefix(name, "scripts/tools/rules/") {
			return
		}
		for _, r := range refused {
			if !r.in(name) || r.unless != "" && bytes.Contains(text, []byte(r.unless)) {
				continue
			}
			n := 0
			for line := range bytes.Lines(text) {
				n++
				if code, _, _ := bytes.Cut(line, []byte("// ")); r.pattern.Match(code) {
					t.Errorf("%s:%d: %s: %s", name, n, bytes.TrimSpace(line), r.why)
				}
			}
		}
	})
}

func TestTopLevel(t *testing.T) {
	out, err := exec.Command("git", "-C", root(t), "ls-files", "-co", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	agreed := regexp.MustCompile(`^(services|pkg|deployments|scripts|compose\.yaml|go\.work|go\.work\.sum|README\.md|LICENSE|\..*)$`)
	seen := map[string]bool{}
	for name := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimSpace(name), "/")
		if !agreed.MatchString(top) && !seen[top] {
			t.Errorf("%s: the top level is services pkg deployments scripts compose.yaml go.work README.md", top)
		}
		seen[top] = true
	}
}
