package servertest

import "syscall"

// hasAttributes reports whether files in the folder can have extended user attributes.
func hasAttributes(folder string) bool {
	return syscall.Setxattr(folder, "user.freshet.test", []byte{1}, 0) == nil
}
