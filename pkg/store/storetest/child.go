package storetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"freshet.dev/pkg/store"
)

// The environment of a child process.
const (
	roleVariable     = "FRESHET_STORETEST_ROLE"
	locationVariable = "FRESHET_STORETEST_LOCATION"
	argumentVariable = "FRESHET_STORETEST_ARGUMENT"

	roleRace  = "race"
	roleCrash = "crash"
	roleStall = "stall"

	roleEntryRace  = "entry-race"
	roleEntryCrash = "entry-crash"
)

// Main runs the tests and then checks for leaked goroutines. It is called by the TestMain of a package that uses the suite, which must
// exit with the code that Main returns. In a child process of the suite Main runs the child's role instead. Child processes open stores
// with open.
func Main(m *testing.M, open func(ctx context.Context, location string) (store.Store, error)) (code int) {
	var err error
	if role := os.Getenv(roleVariable); role != "" {
		err = runChild(role, open)
	} else if code = m.Run(); code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func runChild(role string, open func(ctx context.Context, location string) (store.Store, error)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := open(ctx, os.Getenv(locationVariable))
	if err != nil {
		return err
	}
	defer st.Close()
	var mu sync.Mutex
	report := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	switch role {
	case roleRace:
		return raceChild(ctx, st, os.Getenv(argumentVariable), os.Stdin, report)
	case roleEntryRace:
		return entryRaceChild(ctx, st, os.Getenv(argumentVariable), os.Stdin, report)
	}
	go func() { // a child that runs until it is killed must not outlive a parent that died
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	switch role {
	case roleStall:
		return stallChild(ctx, st, os.Getenv(argumentVariable), report)
	case roleEntryCrash:
		return entryCrashChild(ctx, st, report)
	}
	return crashChild(ctx, st, report)
}

// child is a child process with a role of the suite.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	err   strings.Builder
	ended bool
}

func startChild(t *testing.T, role, location, argument string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), roleVariable+"="+role, locationVariable+"="+location, argumentVariable+"="+argument)
	c.cmd.Stderr = &c.err
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !c.ended {
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait() // the error is that it was killed
		}
	})
	return c
}

// line returns the next line that the child reports, "" when the child has ended.
func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.out.Scan() {
		if err := c.out.Err(); err != nil {
			t.Fatal(err)
		}
		return ""
	}
	return c.out.Text()
}

// send writes a line to the child's input.
func (c *child) send(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		t.Fatalf("send %q to a child process: %v\n%s", line, err, c.err.String())
	}
}

// wait waits for the child, and fails the test if the child failed.
func (c *child) wait(t *testing.T) {
	t.Helper()
	c.ended = true
	if err := c.cmd.Wait(); err != nil {
		t.Fatalf("a child process ended with %v\n%s", err, c.err.String())
	}
}

// kill ends the child as kill -9 does. The lines that it reported before can still be read.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}
