//go:build unix

package servertest

import "syscall"

// Pause freezes the server (SIGSTOP): its connections stay open and nothing answers.
func (p *Process) Pause() {
	p.t.Helper()
	if !p.Running() {
		p.t.Fatalf("pause %s: it does not run", p.cmd.name)
	}
	if p.frozen {
		return
	}
	err := syscall.Kill(p.pid, syscall.SIGSTOP)
	if err == nil {
		err = waitStopped(p.pid)
	}
	if err != nil {
		p.t.Fatalf("pause %s: %v", p.cmd.name, err)
	}
	p.frozen = true
}

// Resume continues a paused server.
func (p *Process) Resume() {
	p.t.Helper()
	if !p.frozen || !p.Running() {
		return
	}
	if err := syscall.Kill(p.pid, syscall.SIGCONT); err != nil {
		p.t.Fatalf("resume %s: %v", p.cmd.name, err)
	}
	p.frozen = false
}
