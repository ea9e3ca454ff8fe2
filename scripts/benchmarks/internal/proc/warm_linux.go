package proc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Warm touches size bytes of memory and releases them. Call it right before starting a child process that needs as much. On a virtual
// machine whose host reclaims free memory (free page reporting, after 2 s), the first touch of a page costs up to ten times as much as
// elsewhere. Warm keeps this random cost out of the measurements.
func Warm(size int64) error {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("warm up %d bytes of memory: %w", size, err)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // only a hint: without huge pages Warm takes longer
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return unix.Munmap(b)
}
