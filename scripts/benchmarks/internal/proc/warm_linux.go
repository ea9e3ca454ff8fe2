package proc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Warm touches size bytes of memory and gives them back. Call it right before starting a child process that will need
// as much. On a virtual machine whose host takes free memory back (free page reporting, after 2 s), the first touch of
// a page costs up to ten times what it costs elsewhere, and who pays is chance: this way no measurement does.
func Warm(size int64) error {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("warm up %d bytes of memory: %w", size, err)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a hint: without huge pages it takes longer
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return unix.Munmap(b)
}
