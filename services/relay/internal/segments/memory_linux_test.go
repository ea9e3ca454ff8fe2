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
	if a.memory.file == nil {
		t.Fatal("this system allows no file in memory")
	}
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

	var want []byte
	for _, letter := range []byte("abcd") { // each in the one buffer there is
		b, err := a.get(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		copy(b.bytes, bytes.Repeat([]byte{letter}, size))
		var n int
		e := raw.Write(func(fd uintptr) bool {
			offset := b.offset
			n, err = unix.Sendfile(int(fd), int(a.memory.file.Fd()), &offset, size)
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

// Whatever the system does with huge pages of files in memory, there are none where holes are punched.
func TestNoHugePagesWhereHolesArePunched(t *testing.T) {
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
