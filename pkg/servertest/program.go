package servertest

import (
	"context"
	"testing"

	"freshet.dev/pkg/servertest/footprint"
)

// Program is any program that a test runs as a server.
type Program struct {
	Name string // for messages and the log's file name
	Path string
	Args []string
	Env  []string // added to the test's environment
	// Ready returns nil once the program answers. It is called repeatedly while the program starts.
	Ready func(ctx context.Context) error
	// Meter, if not nil, measures the memory of the program, which must be started only once. New closes the Meter at the end
	// of the test.
	Meter *footprint.Meter
}

// New returns the program as a process that has not been started. It is killed at the end of the test.
func New(t testing.TB, p Program) *Process {
	t.Helper()
	if p.Meter != nil {
		t.Cleanup(func() { // after the cleanup that kills the process
			if err := p.Meter.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return newProcess(t, command{name: p.Name, path: p.Path, args: p.Args, env: p.Env, dir: t.TempDir(), ready: p.Ready, meter: p.Meter})
}

// FreePort returns a loopback port on which nothing listens, outside the range of ephemeral ports. No other test gets the port until t
// ends.
func FreePort(t testing.TB) int { return freePort(t) }
