//go:build !race

package segments

import "golang.org/x/sys/unix"

// reserve returns n bytes of address space outside of the Go heap. The kernel backs a page with memory on its first use.
// Huge pages are off: a huge page that is discarded in part takes memory until its last part is discarded.
func reserve(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE) // fails where the kernel has no huge pages
	}
	return b, err
}

func release(b []byte) { _ = unix.Munmap(b) } // fails only for memory that reserve did not return

// discard returns the memory behind b to the kernel; b stays usable.
func discard(b []byte) error { return unix.Madvise(b, unix.MADV_DONTNEED) }

func spoil([]byte) {}
