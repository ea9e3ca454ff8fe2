package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestScriptHelp checks that `scripts/test --help` prints the comment at the head of the script, and runs nothing.
func TestScriptHelp(t *testing.T) {
	script := filepath.Join(root, "scripts", "test")
	for _, flag := range []string{"--help", "-h"} {
		out, err := exec.CommandContext(t.Context(), "bash", script, flag).CombinedOutput()
		text := string(out)
		if err != nil || !strings.HasPrefix(text, "Runs all checks of this repository.") || !strings.Contains(text, "\n  scripts/test --quick ") ||
			!strings.HasSuffix(text, "cannot be installed.\n") || strings.Contains(text, "set -euo") {
			t.Errorf("%s: %v\n%s", flag, err, text)
		}
	}
	out, err := exec.CommandContext(t.Context(), "bash", script, "--hepl").CombinedOutput()
	if code := exitCode(err); code != 2 || !strings.Contains(string(out), "use scripts/test [--quick | --long | --help]") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// exitCode returns the exit code of a process that failed; 0 if err is nil.
func exitCode(err error) int {
	if exited, ok := err.(*exec.ExitError); ok {
		return exited.ExitCode()
	}
	return 0
}
