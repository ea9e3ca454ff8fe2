//go:build !amd64 && !arm64

package table

import "unsafe"

// prefetch does nothing here. It is a hint.
func prefetch(unsafe.Pointer) {}

// prefetchRecord does nothing here. It is a hint.
func prefetchRecord(unsafe.Pointer) {}
