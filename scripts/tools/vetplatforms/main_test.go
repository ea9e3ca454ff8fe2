package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Errors that only one platform has are found in packages, in tests, and in tests of another package, and so is what vet reports.
func TestCheck(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":          "module example.com/m\n\ngo 1.26\n",
		"m.go":            "package m\n\nimport \"fmt\"\n\nfunc F() { fmt.Println(fmt.Sprintf(\"%d\", 1)) }\n",
		"m_windows.go":    "package m\n\nimport \"syscall\"\n\nvar _ = syscall.SIGUSR1\n",
		"m_test.go":       "package m\n\nvar large int = 1 << 40\n",
		"outside_test.go": "package m_test\n\nimport \"example.com/m\"\n\nvar _ = m.F\n",
		"f/f_arm64.go":    "package f\n\nimport \"fmt\"\n\nfunc F() { fmt.Printf(\"%d\\n\", \"text\") }\n",
		"f/f.go":          "package f\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for platform, want := range map[string]string{
		"linux/amd64":   "",
		"windows/amd64": "m_windows.go:5:17: undefined: syscall.SIGUSR1",
		"linux/386":     "m_test.go:3:17: cannot use 1 << 40",
		"darwin/arm64":  "f_arm64.go:5:24: fmt.Printf format %d has arg \"text\" of wrong type string (printf)",
	} {
		goos, goarch, _ := strings.Cut(platform, "/")
		problems, err := check(goos, goarch, folder)
		if err != nil || want == "" && len(problems) > 0 || want != "" && (len(problems) != 1 || !strings.Contains(problems[0], want)) {
			t.Errorf("%s: %q and %v, want %q", platform, problems, err, want)
		}
	}
	if problems, err := check("linux", "amd64", filepath.Join(folder, "none")); err == nil {
		t.Errorf("a folder that does not exist: %q", problems)
	}
}
