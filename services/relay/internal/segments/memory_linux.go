//go:build !race

package segments

import "golang.org/x/sys/unix"

// smallPages keeps the kernel from huge pages, of which a part that is discarded would take memory until the rest is, too.
func smallPages(b []byte) {
	_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE) // where this fails there are no huge pages
}

// renew puts other pages behind a buffer that was used before, and is about to get n bytes, because those that it had may
// still be on their way to a client, however long its last reference is gone. They are the kernel's then, which frees them
// when they are sent.
func (m memory) renew(b buffer, n int64) error {
	if b.touched {
		if err := m.discard(b.bytes); err != nil {
			return err
		}
	}
	// All at once costs less than a fault for each page. A kernel before 5.14 does not know how.
	_ = unix.Madvise(b.bytes[:n], unix.MADV_POPULATE_WRITE)
	return nil
}
