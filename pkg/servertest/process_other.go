//go:build !linux

package servertest

import "os/exec"

// dieWithParent does nothing where the kernel offers no such thing: there a test binary that is killed leaves its
// servers behind.
func dieWithParent(*exec.Cmd) {}

// waitStopped is only on Linux able to wait.
func waitStopped(int) error { return nil }
