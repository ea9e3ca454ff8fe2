package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// program is the built command.
var program string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "freshet-main-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "freshet")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the command: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// process is a run of the built command.
type process struct {
	*exec.Cmd
	lines  *bufio.Scanner // of stdout
	stderr bytes.Buffer
}

func begin(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), program, args...)}
	p.Stderr = &p.stderr
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(stdout)
	return p
}

// await reads stdout until a line contains text.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	for p.lines.Scan() {
		if strings.Contains(p.lines.Text(), text) {
			return
		}
	}
	t.Fatalf("printed no %q; stderr: %s", text, p.stderr.String())
}

// end reads stdout to its end and returns it with the exit code.
func (p *process) end(t *testing.T) (rest string, code int) {
	t.Helper()
	for p.lines.Scan() {
		rest += p.lines.Text() + "\n"
	}
	err := p.Wait()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	return rest, p.ProcessState.ExitCode()
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v, %v", dir, left, err)
	}
}

func TestExitCodes(t *testing.T) {
	notAFolder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notAFolder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, err := net.SplitHostPort(busy.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, c := range []struct {
		code   int
		stderr string
		args   []string
	}{
		{0, "", []string{"--help"}},
		{2, "unknown command", []string{"nonsense"}},
		{1, "is it a freshet server?", []string{"get", "prices", "A1", "--server", "http://" + answering(t, "HTTP/1.0 404 Not Found\r\n\r\n")}},
		{1, "--dir", []string{"demo", "--exit", "--dir", filepath.Join(notAFolder, "below")}},
		{1, "--publisher-port", []string{"demo", "--exit", "--dir", dir, "--publisher-port", port}},
		{1, "--nats-port", []string{"demo", "--exit", "--dir", dir, "--nats-port", port}},
	} {
		p := begin(t, c.args...)
		if _, code := p.end(t); code != c.code || !strings.Contains(p.stderr.String(), c.stderr) {
			t.Errorf("%q: exit code %d, want %d; stderr %q, want %q", c.args, code, c.code, p.stderr.String(), c.stderr)
		}
		if n := strings.Count(p.stderr.String(), "\n"); n > 1 {
			t.Errorf("%q: %d lines on stderr, want one message:\n%s", c.args, n, p.stderr.String())
		}
	}
	checkEmpty(t, dir)
}

// answering listens for one connection and sends the answer to any request.
func answering(t *testing.T, answer string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = conn.Write([]byte(answer))
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return listener.Addr().String()
}

func TestDemoExits(t *testing.T) {
	dir := t.TempDir()
	p := begin(t, "demo", "--exit", "--dir", dir)
	out, code := p.end(t)
	if code != 0 || p.stderr.Len() > 0 || !strings.Contains(out, "8.1.9") || !strings.Contains(out, `"27.3"`) {
		t.Errorf("exit code %d\nstdout: %s\nstderr: %s", code, out, p.stderr.String())
	}
	checkDemoOutput(t, out)
	checkEmpty(t, dir)
}

// TestDemoInterrupted sends SIGINT and SIGTERM to the demo, half-way and after its output.
func TestDemoInterrupted(t *testing.T) {
	for name, c := range map[string]struct {
		after  string
		signal os.Signal
		code   int
		stderr string
	}{
		"Ctrl-C half-way":  {"8.1.3", syscall.SIGINT, 130, "freshet: demo: interrupted before it was done\n"},
		"SIGTERM half-way": {"8.1.2", syscall.SIGTERM, 130, "freshet: demo: interrupted before it was done\n"},
		"Ctrl-C at once":   {"freshet demo", syscall.SIGINT, 130, "freshet: demo: interrupted before it was done\n"},
		"Ctrl-C when all is shown": {
			"Files:", syscall.SIGINT, 0, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := begin(t, "demo", "--dir", dir)
			p.await(t, c.after)
			if err := p.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if rest, code := p.end(t); code != c.code || p.stderr.String() != c.stderr {
				t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %q, want %q", code, c.code, rest, p.stderr.String(), c.stderr)
			}
			checkEmpty(t, dir)
		})
	}
}

// TestUpIsInterrupted stops `freshet up` with SIGINT.
func TestUpIsInterrupted(t *testing.T) {
	p := begin(t, "up", "prices", "--dir", t.TempDir(),
		"--nats-port", "0", "--redis-port", "0", "--publisher-port", "0", "--relay-port", "0", "--server-port", "0")
	p.await(t, "Ctrl-C")
	if err := p.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, code := p.end(t); code != 0 || p.stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr: %s", code, p.stderr.String())
	}
}
