//go:build amd64 || arm64

package table

import "unsafe"

// prefetch asks the processor to fetch the cache line at p, and waits for nothing. It is a hint: any address may be
// given, also nil.
//
//go:noescape
func prefetch(p unsafe.Pointer)

// prefetchRecord is prefetch for the three cache lines from p on: a record of some 100 bytes, or the beginning of a
// longer one, which the processor then goes on to fetch by itself.
//
//go:noescape
func prefetchRecord(p unsafe.Pointer)
