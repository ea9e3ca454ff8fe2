//go:build !linux

package table

import "unsafe"

// hugePages does nothing on this system: only Linux lets a program request huge pages for memory that it already has.
type hugePages struct{}

func (*hugePages) advise(unsafe.Pointer, int) {}
