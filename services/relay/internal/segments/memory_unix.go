//go:build unix && !race

package segments

import "golang.org/x/sys/unix"

// reserve returns n bytes of address space outside of the Go heap, backed by memory once used.
func reserve(n int) (memory, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		smallPages(b)
	}
	return memory{bytes: b}, err
}

func (m memory) release() error { return unix.Munmap(m.bytes) }

// discard gives the memory behind b back; b stays usable.
func (memory) discard(b []byte) error { return unix.Madvise(b, unix.MADV_DONTNEED) }

func spoil([]byte) {}
