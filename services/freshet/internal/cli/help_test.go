package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"freshet.dev/services/freshet/internal/exit"
)

// The help of each command begins with an example, and has all of its flags in groups.
func TestHelpOfEachCommand(t *testing.T) {
	root, _ := newRoot(Process{LookupEnv: func(string) (string, bool) { return "", false }})
	for _, c := range root.Commands() {
		r := run(t.Context(), nil, "", c.Name(), "--help")
		if !strings.HasPrefix(r.out, "Examples:\n  ") || !strings.Contains(c.Example, "freshet "+c.Name()) {
			t.Errorf("the help of %s begins with %.60q", c.Name(), r.out)
		}
		if c.GroupID == "" {
			t.Errorf("%s has no group", c.Name())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && strings.Count(r.out, "\n      --"+f.Name+" ")+strings.Count(r.out, "\n  -"+f.Shorthand+", --"+f.Name+" ") != 1 {
				t.Errorf("the help of %s does not have --%s once", c.Name(), f.Name)
			}
		})
	}
	r := run(t.Context(), nil, "", "publish", "--help")
	r.want(t, exit.OK, "stdout:\nConnections:\n", "stdout:\nAudit:\n", "stdout:\nWait:\n")
	if !strings.Contains(section(r.out, "Flags:"), "--label ") || !strings.Contains(section(r.out, "Audit:"), "--reason ") {
		t.Errorf("flags in the wrong group: %s", r.out)
	}
	r = run(t.Context(), nil, "", "get", "--help")
	if !strings.Contains(section(r.out, "Flags:"), "--version ") || !strings.Contains(section(r.out, "Choose instances:"), "--label ") {
		t.Errorf("flags in the wrong group: %s", r.out)
	}
	run(t.Context(), nil, "", "--help").want(t, exit.OK, "stdout:\nPublish and undo:\n  ", "stdout:\nHelp:\n  ", "stdout:freshet man FOLDER")
}

// section returns the part of a help that the title begins.
func section(help, title string) string {
	_, rest, _ := strings.Cut(help, "\n"+title+"\n")
	part, _, _ := strings.Cut(rest, "\n\n")
	return part
}

// `freshet man` writes a page for each command, with its flags and examples.
func TestMan(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "share", "man1")
	run(t.Context(), nil, "", "man", folder).want(t, exit.OK)
	root, _ := newRoot(Process{LookupEnv: func(string) (string, bool) { return "", false }})
	for _, c := range root.Commands() {
		page, err := os.ReadFile(filepath.Join(folder, "freshet-"+c.Name()+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(page), ".SH EXAMPLE") || strings.Contains(string(page), "Auto generated") {
			t.Errorf("the page of %s has no example, or names its generator", c.Name())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(string(page), `\fB--`+f.Name+`\fP`) {
				t.Errorf("the page of %s lacks --%s", c.Name(), f.Name)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(folder, "freshet.1")); err != nil {
		t.Error(err)
	}
	run(t.Context(), nil, "", "man", filepath.Join(file(t, "a-file", "x"), "man")).want(t, exit.Failure, "a-file")
	run(t.Context(), nil, "", "man").want(t, exit.Usage, "accepts 1 arg(s)")
}
