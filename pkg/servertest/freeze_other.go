//go:build !unix

package servertest

import "runtime"

// Pause fails the test: only Unix has a signal that freezes a process.
func (p *Process) Pause() {
	p.t.Helper()
	p.t.Fatalf("pause %s: %s cannot freeze a process; run this test on Linux or macOS", p.cmd.name, runtime.GOOS)
}

// Resume does nothing, because no server is ever paused.
func (p *Process) Resume() {}
