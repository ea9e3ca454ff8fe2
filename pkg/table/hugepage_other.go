//go:build !linux

package table

import "unsafe"

// hugePages does nothing here: only Linux lets a program ask for huge pages under memory that it has already.
type hugePages struct{}

func (*hugePages) advise(unsafe.Pointer, int) {}
