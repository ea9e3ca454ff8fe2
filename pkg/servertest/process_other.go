//go:build !linux

package servertest

import "os/exec"

// dieWithParent does nothing, because this kernel has no such feature: a test binary that is killed leaves its servers
// running.
func dieWithParent(*exec.Cmd) {}

// waitStopped does nothing: only Linux can wait for a stopped process.
func waitStopped(int) error { return nil }
