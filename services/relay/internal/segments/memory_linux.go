//go:build !race

package segments

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve returns n bytes of address space outside of the Go heap, backed by memory once used: that of a file without a
// name, whose pages the kernel can send as they are, where the system allows such files.
func reserve(n int) (memory, error) {
	fd, err := unix.MemfdCreate("freshet-segments", unix.MFD_CLOEXEC)
	if err != nil {
		return reserveAnonymous(n)
	}
	m := memory{file: os.NewFile(uintptr(fd), "segments")}
	if err = unix.Ftruncate(fd, int64(n)); err == nil {
		m.bytes, err = unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err == nil {
		// A hole in part of a huge page is made by zeroing that part where it is, and the kernel may still have to send it. Where
		// this fails there are no huge pages.
		_ = unix.Madvise(m.bytes, unix.MADV_NOHUGEPAGE)
		if err = m.discard(m.bytes); err == nil { // as renew will
			return m, nil
		}
		err = errors.Join(err, unix.Munmap(m.bytes))
	}
	_ = m.file.Close()
	if anonymous, e := reserveAnonymous(n); e == nil {
		return anonymous, nil
	}
	return memory{}, err
}

func reserveAnonymous(n int) (memory, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a hint: copying then misses the processor's page table cache less
	}
	return memory{bytes: b}, err
}

func (m memory) release() error {
	err := unix.Munmap(m.bytes)
	if m.file != nil {
		err = errors.Join(err, m.file.Close())
	}
	return err
}

// discard gives the memory behind b back; b stays usable.
func (m memory) discard(b []byte) error {
	if m.file == nil {
		return unix.Madvise(b, unix.MADV_DONTNEED)
	}
	return unix.Madvise(b, unix.MADV_REMOVE)
}

// renew puts other pages behind a buffer that was used before, because those that it had may still be on their way to a
// client, however long its last reference is gone. They are the kernel's then, which frees them when they are sent.
func (m memory) renew(b buffer, n int64) error {
	if m.file == nil {
		return nil
	}
	if b.touched {
		if err := m.discard(b.bytes); err != nil {
			return err
		}
	}
	// All at once costs less than a fault for each page. A kernel before 5.14 does not know how.
	_ = unix.Madvise(b.bytes[:n], unix.MADV_POPULATE_WRITE)
	return nil
}

func spoil([]byte) {}
