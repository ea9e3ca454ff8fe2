//go:build !race

package segments

import "golang.org/x/sys/unix"

// smallPages keeps the kernel from huge pages, of which a part that is discarded would take memory until the rest is, too.
func smallPages(b []byte) {
	_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE) // where this fails there are no huge pages
}

// populate puts memory behind a buffer that has none and is about to get n bytes. All at once costs less than a fault for each
// page. A kernel before 5.14 does not know how.
func (memory) populate(b buffer, n int64) {
	if !b.touched {
		_ = unix.Madvise(b.bytes[:n], unix.MADV_POPULATE_WRITE)
	}
}
