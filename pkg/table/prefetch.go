//go:build amd64 || arm64

package table

import "unsafe"

// prefetch tells the processor to fetch the cache line at p, and does not wait. It is a hint: p may be any address, also
// nil.
//
//go:noescape
func prefetch(p unsafe.Pointer)

// prefetchRecord prefetches the three cache lines from p on: a record of some 100 bytes, or the beginning of a longer one,
// the rest of which the hardware prefetcher then fetches.
//
//go:noescape
func prefetchRecord(p unsafe.Pointer)
