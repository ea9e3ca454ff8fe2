package rules

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// bareMachine is a folder of programs that stands in for PATH: those that every Debian has, and stand-ins that do nothing.
type bareMachine struct {
	t   *testing.T
	bin string
}

func newBareMachine(t *testing.T, standIns map[string]string) *bareMachine {
	m := &bareMachine{t, t.TempDir()}
	for _, name := range []string{"bash", "sh", "dirname", "uname", "df", "mkdir", "rm", "cat", "chmod", "tee", "env"} {
		if _, replaced := standIns[name]; replaced {
			continue
		}
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(m.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range standIns {
		if err := os.WriteFile(filepath.Join(m.bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// run runs the command in the repository's root and returns what it prints and its exit code.
func (m *bareMachine) run(args ...string) (out string, code int) {
	m.t.Helper()
	cmd := exec.Command(filepath.Join(m.bin, args[0]), args[1:]...)
	cmd.Dir, cmd.Env = root(m.t), []string{"PATH=" + m.bin, "BIN=" + m.bin}
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

const (
	// noTools is a Go that installs no tools, at which scripts/test ends once nothing is missing.
	noTools = `case "$1 $2" in "env CC") echo gcc;; "env GOVERSION") echo go1.26.0;; *) echo "stand-in: $*"; exit 1;; esac`
	// apt notes how it is called and installs stand-ins.
	apt = `echo "$*" >>"$BIN/apt.log"; for p in "$@"; do case $p in nodejs) p=node;; redis-tools) p=redis-benchmark;; python3-redis) p=python3;; esac; ` +
		`case $p in git|curl|gcc|redis-server|redis-benchmark|python3|node|npm) echo "#!/bin/sh" >"$BIN/$p"; chmod +x "$BIN/$p";; esac; done`
)

// Invariant: scripts/test names all that is missing in one message, with what to do, before it does anything; what it says to do
// is enough.
func TestScriptNamesAllThatIsMissing(t *testing.T) {
	user := map[string]string{"id": "echo 1000", "apt-get": apt}
	m := newBareMachine(t, user)
	out, code := m.run("bash", "scripts/test")
	for _, want := range []string{"install Go 1.26 or newer", "git, redis-server, curl, redis-benchmark, python3-redis, node, npm, gcc (a C compiler): run as root: "} {
		if code != 2 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, want 2 and a message with %q:\n%s", code, want, out)
		}
	}
	if strings.Contains(out, "==") {
		t.Errorf("a step began although something is missing:\n%s", out)
	}

	remedy := regexp.MustCompile(`run as root: (.*)`).FindStringSubmatch(out)
	if remedy == nil {
		t.Fatalf("no remedy in:\n%s", out)
	}
	if out, code := m.run("sh", "-ec", remedy[1]); code != 0 {
		t.Fatalf("%s: exit code %d: %s", remedy[1], code, out)
	}
	if err := os.WriteFile(filepath.Join(m.bin, "go"), []byte("#!/bin/sh\n"+noTools+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, code = m.run("bash", "scripts/test"); code != 2 || !strings.Contains(out, "stand-in: -C scripts/tools install") {
		t.Errorf("exit code %d, want 2 and the installation of tools after the remedy:\n%s", code, out)
	}
}

// Invariant: a clone that git refuses to read, because another user owns it, is named with git's own advice.
func TestScriptNamesAnUnsafeClone(t *testing.T) {
	const advice = "git config --global --add safe.directory /clone"
	m := newBareMachine(t, map[string]string{
		"id": "echo 1000", "apt-get": apt, "go": noTools, "git": "echo '" + advice + "' >&2; exit 128", "redis-server": "", "curl": "", "gcc": "",
		"redis-benchmark": "", "python3": "", "node": "", "npm": "",
	})
	if out, code := m.run("bash", "scripts/test"); code != 2 || !strings.Contains(out, "a clone that git reads: "+advice) {
		t.Errorf("exit code %d, want 2 and git's advice:\n%s", code, out)
	}
}

// Root, and a user with sudo, have scripts/test install the packages, in one go.
func TestScriptInstallsWhatIsMissing(t *testing.T) {
	for name, standIns := range map[string]map[string]string{
		"root": {"id": "echo 0", "apt-get": apt, "go": noTools},
		"user": {"id": "echo 1000", "apt-get": apt, "go": noTools, "sudo": `[ "$1" != env ] || shift 2; "$@"`},
	} {
		t.Run(name, func(t *testing.T) {
			// The real policy-rc.d stays as it is.
			standIns["tee"], standIns["chmod"], standIns["rm"] = "cat >/dev/null", "exec /bin/chmod \"$@\"", "true"
			m := newBareMachine(t, standIns)
			out, code := m.run("bash", "scripts/test", "--quick")
			if code != 2 || !strings.Contains(out, "missing: git, redis-server, curl, redis-benchmark, python3-redis, node, npm.") || !strings.Contains(out, "stand-in: -C scripts/tools install") {
				t.Errorf("exit code %d, want 2 and the installation of tools:\n%s", code, out)
			}
			calls, err := os.ReadFile(filepath.Join(m.bin, "apt.log"))
			if err != nil || strings.Count(string(calls), "install -y") != 1 {
				t.Errorf("apt-get was called with %q, %v; want one install", calls, err)
			}
		})
	}
}
