//go:build unix

package servertest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recorder stands in for the testing.TB of a test that is expected to fail.
type recorder struct {
	testing.TB
	fatal string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestMissingProgramFailsAndSaysHowToInstall(t *testing.T) {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		program(r, "no-such-server", "make it yourself")
	}()
	<-done
	if !strings.Contains(r.fatal, "needs no-such-server") || !strings.Contains(r.fatal, "make it yourself") {
		t.Errorf("the message is %q", r.fatal)
	}
}

func TestServerThatCannotStartFailsWithItsLog(t *testing.T) {
	s := Redis(t)
	s.Stop()
	s.cmd.args = append(s.cmd.args, "--no-such-setting", "yes")
	if err := s.start(); err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("the error is: %v", err)
	}
	if s.Running() {
		t.Error("it counts as running")
	}
}

const panicking = "FRESHET_TEST_PANIC"

// TestServersDieWithThePanickingTest runs itself in a child, which starts a server and panics.
func TestServersDieWithThePanickingTest(t *testing.T) {
	if os.Getenv(panicking) != "" {
		fmt.Printf("pid=%d\n", Redis(t).PID())
		go panic("with a server running")
		select {}
	}
	if runtime.GOOS != "linux" {
		t.Log("only Linux kills a child with its parent: nothing to check here")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), panicking+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the child did not panic:\n%s", out)
	}
	var pid int
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "pid=%d", &pid); err == nil {
			break
		}
	}
	if pid == 0 {
		t.Fatalf("the child started no server:\n%s", out)
	}
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(time.Millisecond); ; {
		if !alive(pid) {
			return
		}
		select {
		case <-deadline:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("redis-server %d outlives its test", pid)
		case <-tick.C:
		}
	}
}

// alive reports whether the process runs. It is also false for a zombie that its new parent has not reaped yet.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z'
}
