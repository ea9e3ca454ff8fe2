package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"freshet.dev/services/freshet/internal/exit"
)

// terminal opens a pseudo-terminal. Reads of main return the output to tty.
func terminal(t *testing.T) (main, tty *os.File) {
	t.Helper()
	main, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("open a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { main.Close() })
	unlocked := 0
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, main.Fd(), unix.TIOCSPTLCK, uintptr(unsafe.Pointer(&unlocked))); errno != 0 {
		t.Fatalf("unlock the pseudo-terminal: %v", errno)
	}
	number, err := unix.IoctlGetInt(int(main.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("number the pseudo-terminal: %v", err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("open the terminal: %v", err)
	}
	return main, tty
}

// TestProgressOnATerminalOnly publishes with stderr on a terminal, and then without a terminal.
func TestProgressOnATerminalOnly(t *testing.T) {
	f := start(t, "prices")
	var records strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&records, `{"sku":"%d","note":"a record that is not very short, so that there is something to send"}`+"\n", i)
	}
	path := file(t, "long.ndjson", records.String())
	args := []string{"publish", "prices", path, "--key", "sku"}
	lookup := func(name string) (string, bool) { return f.env[name], true }

	main, tty := terminal(t)
	shown := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(main) // ends with an error, when the terminal is closed
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
	// The bar is cleared at the end.
	if last := bar[strings.LastIndex(bar, "\r")+1:]; strings.TrimSpace(strings.TrimPrefix(last, "\x1b[2K")) != "" {
		t.Errorf("the last line of the terminal is %q", last)
	}

	if r := f.run(t, args...); r.code != exit.OK || r.err != "" {
		t.Errorf("without a terminal: %+v", r)
	}
}

// TestProgressOfTheCommit has a publisher that answers only after the terminal has shown the time of the commit.
func TestProgressOfTheCommit(t *testing.T) {
	main, tty := terminal(t)
	committing, shown := make(chan struct{}), make(chan string, 1)
	go func() {
		var all strings.Builder
		buffer := make([]byte, 4096)
		for {
			n, err := main.Read(buffer)
			seen := strings.Contains(all.String(), " s\r")
			all.Write(buffer[:n])
			if !seen && strings.Contains(all.String(), "uploaded 46 B, committing ... ") && strings.Contains(all.String(), " s\r") {
				close(committing)
			}
			if err != nil { // the terminal is closed
				break
			}
		}
		shown <- all.String()
	}()
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		select {
		case <-committing:
		case <-t.Context().Done():
		}
		fmt.Fprint(w, `{"created":true,"version_record":{"dataset":"prices","version":1}}`)
	}))
	defer publisher.Close()
	before := commitTick
	commitTick = time.Millisecond
	defer func() { commitTick = before }()
	var out bytes.Buffer
	code := Run(t.Context(), Process{
		In: strings.NewReader(""), Out: &out, Err: tty, Command: "freshet", LookupEnv: func(string) (string, bool) { return "", false },
	}, []string{"publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--publisher", publisher.URL})
	tty.Close()
	text := <-shown
	if code != exit.OK || !strings.Contains(out.String(), "prices version 1") {
		t.Errorf("exit code %d, stdout %q, the terminal shows %q", code, out.String(), text)
	}
	if last := text[strings.LastIndex(text, "\r")+1:]; strings.TrimSpace(last) != "" {
		t.Errorf("the last line of the terminal is %q", last)
	}
}
