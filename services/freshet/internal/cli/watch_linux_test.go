package cli

import (
	"context"
	"io"
	"strings"
	"testing"

	"freshet.dev/services/freshet/internal/exit"
)

// TestWatchOnATerminal redraws from the first line and erases the look before.
func TestWatchOnATerminal(t *testing.T) {
	f := start(t, "prices")
	main, tty := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	shown := make(chan string, 1)
	go func() {
		var all strings.Builder
		buffer := make([]byte, 4096)
		for {
			n, err := main.Read(buffer)
			all.Write(buffer[:n])
			if strings.Count(all.String(), "up-2") == 2 {
				cancel()
			}
			if err != nil { // the terminal is closed
				break
			}
		}
		shown <- all.String()
	}()
	code := Run(ctx, Process{
		In: strings.NewReader(""), Out: tty, Err: io.Discard, Command: "freshet",
		LookupEnv: func(name string) (string, bool) { return f.env[name], true },
	}, []string{"status", "--watch", "--interval", "100ms"})
	tty.Close()
	text := <-shown
	if code != exit.OK || !strings.HasPrefix(text, home+rest+home) || strings.Count(text, home) < 3 || !strings.Contains(text, restLine+"\r\n") || !strings.HasSuffix(text, rest) {
		t.Errorf("exit code %d, the terminal shows %q", code, text)
	}
}
