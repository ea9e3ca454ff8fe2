package servertest

import (
	"context"
	"testing"

	"freshet.dev/pkg/servertest/footprint"
)

// Program is a program of the caller's own that a test runs as a server.
type Program struct {
	Name string // for messages and the log's file name
	Path string
	Args []string
	Env  []string // added to the test's own
	// Ready returns nil once the program answers. It is called again and again while the program starts.
	Ready func(ctx context.Context) error
	// Meter, if not nil, measures the memory of the program, which is started once. New closes it when the test ends.
	Meter *footprint.Meter
}

// New returns the program as a process that is not started yet, and has it killed when the test ends.
func New(t testing.TB, p Program) *Process {
	t.Helper()
	if p.Meter != nil {
		t.Cleanup(func() { // after the process was killed
			if err := p.Meter.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return newProcess(t, command{name: p.Name, path: p.Path, args: p.Args, env: p.Env, dir: t.TempDir(), ready: p.Ready, meter: p.Meter})
}

// FreePort returns a loopback port on which nothing listens, from a range out of which systems hand out none by
// themselves.
func FreePort(t testing.TB) int { return freePort(t) }
