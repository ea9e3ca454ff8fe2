//go:build !linux

package servertest

// hasAttributes returns false, because package syscall lacks the call on this system.
func hasAttributes(string) bool { return false }
