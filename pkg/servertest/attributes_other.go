//go:build !linux

package servertest

// hasAttributes reports false where package syscall cannot ask.
func hasAttributes(string) bool { return false }
