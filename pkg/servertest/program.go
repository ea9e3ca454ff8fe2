package servertest

import (
	"context"
	"testing"
)

// Program is a program of the caller's own that a test runs as a server.
type Program struct {
	Name string // for messages and the log's file name
	Path string
	Args []string
	Env  []string // added to the test's own
	// Ready returns nil once the program answers. It is called again and again while the program starts.
	Ready func(ctx context.Context) error
}

// New returns the program as a process that is not started yet, and has it killed when the test ends.
func New(t testing.TB, p Program) *Process {
	t.Helper()
	return newProcess(t, command{name: p.Name, path: p.Path, args: p.Args, env: p.Env, dir: t.TempDir(), ready: p.Ready})
}

// FreePort returns a loopback port on which nothing listens, from a range out of which systems hand out none by
// themselves.
func FreePort(t testing.TB) int { return freePort(t) }
