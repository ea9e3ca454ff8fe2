//go:build amd64 || arm64

package table

import "unsafe"

// prefetch asks the processor to fetch the cache line at p, and waits for nothing. It is a hint: any address may be
// given, also nil.
//
//go:noescape
func prefetch(p unsafe.Pointer)
