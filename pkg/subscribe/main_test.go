package subscribe_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// children are the processes that tests start: this program, with CHILD set to a name.
var children = map[string]func() error{}

func TestMain(m *testing.M) {
	cachedir.DefaultPatience = 30 * time.Second // the disk of a busy machine pauses
	if child := children[os.Getenv("CHILD")]; child != nil {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if programDir != "" {
			os.RemoveAll(programDir)
		}
		os.Exit(code)
	}))
}

var programDir string

// program builds this program without the race detector, even if this process has it: with it the use of memory means nothing, and
// publishing takes many times as long.
var program = sync.OnceValues(func() (string, error) {
	var err error
	if programDir, err = os.MkdirTemp("", "subscribe-test-"); err != nil {
		return "", err
	}
	path := filepath.Join(programDir, "subscribe.test")
	if out, err := exec.Command("go", "test", "-c", "-race=false", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", path, err, out)
	}
	return path, nil
})

// child returns the command that runs a child process with more in its environment. The caller starts it.
func child(t *testing.T, name string, environment ...string) *exec.Cmd {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(append(os.Environ(), "CHILD="+name, "GOGC=", "GOMEMLIMIT="), environment...)
	cmd.Stderr = os.Stderr
	return cmd
}
