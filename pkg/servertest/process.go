package servertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/servertest/footprint"
)

const (
	// readyTimeout bounds a start, stopTimeout a stop by SIGTERM. Both are far above the times on a loaded machine.
	readyTimeout = 30 * time.Second
	stopTimeout  = 20 * time.Second
	// logTail is the number of bytes of a server's log that a failed test shows.
	logTail = 16 << 10
	// firstPort and lastPort are below the range of ephemeral ports, so that no connection and no other test's listener uses
	// the port of a server while it is down.
	firstPort, lastPort = 12000, 32000
)

// command describes how to run a server.
type command struct {
	name string // for messages
	path string
	args []string
	env  []string // added to the test's environment
	dir  string   // for the log; must exist
	// meter, if not nil, measures the process.
	meter *footprint.Meter
	// ready returns nil once the server answers. It is called repeatedly.
	ready func(ctx context.Context) error
}

// Process is a server that runs as a child process of a test.
type Process struct {
	t   testing.TB
	cmd command
	log string
	// pid and exited are those of the current child; exited is nil before the first.
	pid    int
	exited chan struct{}
	code   int // the exit code of the last child; valid once exited is closed
	frozen bool
}

// newProcess returns a process that has not been started. It is killed at the end of the test.
func newProcess(t testing.TB, cmd command) *Process {
	t.Helper()
	p := &Process{t: t, cmd: cmd, log: filepath.Join(cmd.dir, cmd.name+".log")}
	t.Cleanup(func() {
		p.end(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", cmd.name, p.Log())
		}
	})
	return p
}

// Start starts the server on its port and data, and returns when it answers. It does nothing if the server runs.
func (p *Process) Start() {
	p.t.Helper()
	if err := p.start(); err != nil {
		p.t.Fatal(err)
	}
}

// Stop ends the server with SIGTERM and waits for its end.
func (p *Process) Stop() {
	p.t.Helper()
	p.Resume()
	if !p.end(syscall.SIGTERM) {
		p.end(syscall.SIGKILL)
		p.t.Fatalf("%s did not end within %v of SIGTERM", p.cmd.name, stopTimeout)
	}
}

// Kill ends the server with SIGKILL and waits for its end.
func (p *Process) Kill() {
	p.t.Helper()
	p.end(syscall.SIGKILL)
}

// Restart stops the server and starts it again on the same port and data.
func (p *Process) Restart() {
	p.t.Helper()
	p.Stop()
	p.Start()
}

// Running reports whether the server's process exists.
func (p *Process) Running() bool {
	if p.exited == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// PID returns the process id of the server, 0 while it does not run.
func (p *Process) PID() int {
	if !p.Running() {
		return 0
	}
	return p.pid
}

// ExitCode returns the exit code of the server's last process. It is -1 while the server runs, and after a signal.
func (p *Process) ExitCode() int {
	if p.Running() {
		return -1
	}
	return p.code
}

// Log returns the last 16 KiB of the server's standard output and error.
func (p *Process) Log() string {
	f, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-logTail), io.SeekStart)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b))
}

// start starts the child and waits until it is ready or has ended.
func (p *Process) start() error {
	if p.Running() {
		return nil
	}
	logFile, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.cmd.name, err)
	}
	defer logFile.Close() // the child has its own descriptor

	cmd := exec.Command(p.cmd.path, p.cmd.args...)
	cmd.Dir = p.cmd.dir
	cmd.Env = append(os.Environ(), p.cmd.env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	dieWithParent(cmd)
	if p.cmd.meter != nil {
		p.cmd.meter.Wrap(cmd)
	}

	p.code = -1
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(exited)
		// Linux kills the child at the end of the thread that started it, not of the process: keep the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the exit code has the same information
			p.code = cmd.ProcessState.ExitCode()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.cmd.name, err)
	}
	p.pid, p.exited, p.frozen = cmd.Process.Pid, exited, false
	if p.cmd.meter != nil {
		p.cmd.meter.Watch(p.pid)
	}
	return p.waitReady()
}

func (p *Process) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		err := p.cmd.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended before it was ready; the end of its log:\n%s", p.cmd.name, p.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %w", p.cmd.name, readyTimeout, err)
		case <-poll.C:
		}
	}
}

// end sends the signal and reports whether the child has ended. It returns true if no child runs.
func (p *Process) end(sig syscall.Signal) bool {
	if !p.Running() {
		return true
	}
	child, err := os.FindProcess(p.pid)
	if err != nil {
		return false
	}
	if err := child.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false
	}
	select {
	case <-p.exited:
		return true
	case <-time.After(stopTimeout):
		return false
	}
}

// installTools is the command that installs the servers written in Go, at the versions of scripts/tools/go.mod.
const installTools = "GOWORK=off go -C scripts/tools install tool (scripts/test does it for its own run)"

// program returns the path of an executable, from PATH or from the folder of `go install`.
func program(t testing.TB, name, install string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	bin := os.Getenv("GOBIN")
	if bin == "" {
		out, err := exec.Command("go", "env", "GOPATH").Output()
		if err == nil {
			bin = filepath.Join(filepath.SplitList(string(bytes.TrimSpace(out)))[0], "bin")
		}
	}
	if path, err := exec.LookPath(filepath.Join(bin, name)); err == nil {
		return path
	}
	t.Fatalf("this test needs %s, which is neither in PATH nor in %s; install it with: %s", name, bin, install)
	return ""
}

// freePort returns a loopback port on which nothing listens. No other test gets the port until t ends, in this process or another: a UDP
// socket with the same number, which the servers do not use, reserves it.
func freePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		reservation, err := net.ListenPacket("udp", loopback(port))
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			_ = reservation.Close()
			continue
		}
		_ = l.Close()
		t.Cleanup(func() { _ = reservation.Close() })
		return port
	}
	t.Fatalf("found no free port from %d to %d on 127.0.0.1", firstPort, lastPort)
	return 0
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// startOnFreePort calls run with free ports until the returned server starts: another program may use a port between the check
// and the start.
func startOnFreePort(t testing.TB, ports int, run func(ports []int) *Process) {
	t.Helper()
	const attempts = 5
	var err error
	for range attempts {
		taken := make([]int, ports)
		for i := range taken {
			taken[i] = freePort(t)
		}
		if err = run(taken).start(); err == nil {
			return
		}
	}
	t.Fatal(err)
}
