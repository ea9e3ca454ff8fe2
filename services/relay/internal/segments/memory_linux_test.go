//go:build !race

package segments

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel was given to send of a buffer arrives as it was then, although the buffer has been given back and holds
// other bytes by the time the client reads.
func TestWhatIsOnItsWayStaysAsItIs(t *testing.T) {
	const size = 256 << 10
	a, err := newArena(1, size)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}

	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(pipe[0]), unix.Close(pipe[1]) }()

	var want []byte
	for _, letter := range []byte("abcd") { // each in the one buffer there is
		b, err := a.get(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		copy(b.bytes, bytes.Repeat([]byte{letter}, size))
		iov := unix.Iovec{Base: &b.bytes[0]}
		iov.SetLen(16 << 10)
		n, err := unix.Vmsplice(pipe[1], []unix.Iovec{iov}, 0)
		if err != nil {
			t.Fatal(err)
		}
		e := raw.Write(func(fd uintptr) bool {
			sent, e := unix.Splice(pipe[0], nil, int(fd), nil, n, 0)
			n, err = int(sent), e // its type differs between processors
			return true
		})
		if e != nil || err != nil || n == 0 {
			t.Fatalf("the kernel took %d bytes: %v, %v", n, e, err)
		}
		want = append(want, b.bytes[:n]...)
		a.put(b)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the bytes are not those that were sent, %v", err)
	}
}

// Whatever the system does with huge pages, there are none of which a part is discarded.
func TestNoHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Logf("this kernel knows no huge pages: %v", err)
		return
	}
	a, err := newArena(4, 256<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, mapping, ok := strings.Cut(string(maps), fmt.Sprintf("%x-", uintptr(unsafe.Pointer(unsafe.SliceData(a.memory.bytes)))))
	_, flags, found := strings.Cut(mapping, "VmFlags:")
	flags, _, _ = strings.Cut(flags, "\n")
	if !ok || !found || !strings.Contains(flags+" ", " nh ") {
		t.Errorf("the flags of the mapping are %q; want nh among them", flags)
	}
}
