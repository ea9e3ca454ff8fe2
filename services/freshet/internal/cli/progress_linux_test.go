package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"freshet.dev/services/freshet/internal/exit"
)

// terminal opens a pseudo-terminal: what is written to the terminal is read from the other side.
func terminal(t *testing.T) (side, tty *os.File) {
	t.Helper()
	side, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("open a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { side.Close() })
	unlocked := 0
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, side.Fd(), unix.TIOCSPTLCK, uintptr(unsafe.Pointer(&unlocked))); errno != 0 {
		t.Fatalf("unlock the pseudo-terminal: %v", errno)
	}
	number, err := unix.IoctlGetInt(int(side.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("number the pseudo-terminal: %v", err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("open the terminal: %v", err)
	}
	return side, tty
}

// TestProgressOnATerminalOnly publishes with stderr on a terminal, and then on none.
func TestProgressOnATerminalOnly(t *testing.T) {
	f := start(t, "prices")
	var records strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&records, `{"sku":"%d","note":"a record that is not very short, so that there is something to send"}`+"\n", i)
	}
	path := file(t, "long.ndjson", records.String())
	args := []string{"publish", "prices", path, "--key", "sku"}
	lookup := func(name string) (string, bool) { return f.env[name], true }

	side, tty := terminal(t)
	shown := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(side) // ends with an error, when the terminal is closed
		shown <- string(b)
	}()
	var out bytes.Buffer
	code := Run(t.Context(), Process{In: strings.NewReader(""), Out: &out, Err: tty, Command: "freshet", LookupEnv: lookup}, args)
	tty.Close()
	bar := <-shown
	if code != exit.OK || !strings.Contains(bar, "publishing "+path) || !strings.Contains(bar, "%") {
		t.Errorf("exit code %d, the terminal shows %q", code, bar)
	}
	if !strings.HasPrefix(out.String(), "prices version 1: 200,000 records") {
		t.Errorf("stdout is %q", out.String())
	}
	// The bar is gone at the end: nothing of it stays on its line.
	if last := bar[strings.LastIndex(bar, "\r")+1:]; strings.TrimSpace(strings.TrimPrefix(last, "\x1b[2K")) != "" {
		t.Errorf("the last line of the terminal is %q", last)
	}

	if r := f.run(t, args...); r.code != exit.OK || r.err != "" {
		t.Errorf("without a terminal: %+v", r)
	}
}
