package table

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePageBytes is the size of a huge page on amd64, and on arm64 with 4 KiB pages.
const hugePageBytes = 2 << 20

// hugePages advises the kernel, before the first access, which parts of the heap a table will fill. One address
// translation then covers 2 MiB instead of 4 KiB, and a load takes one page fault instead of 512. If the kernel uses no
// huge pages, or uses them everywhere, the advice has no effect.
//
// Slabs are adjacent in the heap, so a slab shares its first and its last huge page with its neighbors. Advising whole
// huge pages therefore wastes at most the first and the last of all. The Go heap grows in 4 MiB steps, aligned to their
// size, so a huge page never extends beyond it. hugePages owns no memory: the advice remains with the addresses, and
// the collector frees and reuses them as usual. So all versions derived from a table share one hugePages.
type hugePages struct {
	mu      sync.Mutex
	advised map[uintptr]struct{} // guarded by mu: pages by address / hugePageBytes
}

// advise requests huge pages for the size bytes at memory. It does nothing if h is nil.
func (h *hugePages) advise(memory unsafe.Pointer, size int) {
	if h == nil || size == 0 {
		return
	}
	start := uintptr(memory)
	last := (start + uintptr(size) - 1) / hugePageBytes
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.advised == nil {
		h.advised = make(map[uintptr]struct{})
	}
	for page := start / hugePageBytes; page <= last; page++ {
		if _, done := h.advised[page]; done {
			continue
		}
		h.advised[page] = struct{}{}
		// The address is a number and not a Go pointer, because it may precede the slab. Errors are ignored: a kernel built
		// without huge pages, for example, refuses the advice.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, page*hugePageBytes, hugePageBytes, unix.MADV_HUGEPAGE)
	}
}
