package table

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePageBytes is the size of a huge page on amd64, and on arm64 with 4 KiB pages.
const hugePageBytes = 2 << 20

// hugePages tells the kernel, before they are touched, which parts of the heap will be full of a table: one address
// translation then covers 2 MiB instead of 4 KiB, and a load takes one page fault instead of 512. Where the kernel
// backs nothing (or everything) with huge pages, the call changes nothing.
//
// Slabs lie side by side in the heap, so the huge page that a slab begins or ends in belongs to its neighbours too:
// asking for whole huge pages wastes at most the first and the last. The Go heap grows in 4 MiB steps, aligned to
// their size, so a huge page never reaches outside of it. Nothing is owned here: the advice stays with the addresses,
// and the collector frees and reuses them as ever. So the versions that come from a table share one of these.
type hugePages struct {
	mu      sync.Mutex
	advised map[uintptr]struct{} // guarded by mu: pages by address / hugePageBytes
}

// advise asks for huge pages under the size bytes at memory. It does nothing if h is nil.
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
		// The address goes to the kernel as a number: it may lie before the slab, where a Go pointer must not point.
		// The kernel may refuse, for example when it was built without huge pages: then there are none.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, page*hugePageBytes, hugePageBytes, unix.MADV_HUGEPAGE)
	}
}
