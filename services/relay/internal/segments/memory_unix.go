//go:build unix && !race

package segments

import "golang.org/x/sys/unix"

// reserve returns n bytes of address space outside of the Go heap, backed by memory once used. A nil slice means that
// buffers are made on the heap one by one.
func reserve(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		preferHugePages(b)
	}
	return b, err
}

func release(memory []byte) error { return unix.Munmap(memory) }

// discard gives the memory behind b back; b stays usable.
func discard(b []byte) error { return unix.Madvise(b, unix.MADV_DONTNEED) }

func spoil([]byte) {}
