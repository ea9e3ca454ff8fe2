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

// What a child process is told in its environment.
const (
	roleVariable = "FRESHET_STORETEST_ROLE"
	urlVariable  = "FRESHET_STORETEST_URL"
	whoVariable  = "FRESHET_STORETEST_WHO"

	roleRace  = "race"
	roleCrash = "crash"
	roleStall = "stall"
)

// Main is what the TestMain of a package that uses the suite calls; it exits with the code that Main returns. In a
// child process of the suite Main does the child's work, else it runs the tests and then looks for leaked goroutines.
func Main(m *testing.M) (code int) {
	var err error
	if role := os.Getenv(roleVariable); role != "" {
		err = beChild(role)
	} else if code = m.Run(); code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func beChild(role string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := store.Open(ctx, os.Getenv(urlVariable))
	if err != nil {
		return err
	}
	defer st.Close()
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	if role == roleRace {
		return raceChild(ctx, st, os.Getenv(whoVariable), os.Stdin, say)
	}
	go func() { // a child that works without end must not outlive a parent that died
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if role == roleStall {
		return stallChild(ctx, st, os.Getenv(whoVariable), say)
	}
	return crashChild(ctx, st, say)
}

// child is a child process with a role of the suite.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	err   strings.Builder
	ended bool
}

func startChild(t *testing.T, role, url, who string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), roleVariable+"="+role, urlVariable+"="+url, whoVariable+"="+who)
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
			_ = c.cmd.Wait() // killed: there is no other way for it to end
		}
	})
	return c
}

// line returns the child's next line, "" when it has ended.
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

func (c *child) say(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		t.Fatalf("tell a child process to %s: %v\n%s", line, err, c.err.String())
	}
}

// wait fails the test unless the child ended well.
func (c *child) wait(t *testing.T) {
	t.Helper()
	c.ended = true
	if err := c.cmd.Wait(); err != nil {
		t.Fatalf("a child process ended with %v\n%s", err, c.err.String())
	}
}

// kill ends the child as kill -9 does. What it said before can still be read.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}
