package servertest

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the child when its parent dies, also by a panic or SIGKILL.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
