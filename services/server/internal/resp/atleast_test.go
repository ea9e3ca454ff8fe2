package resp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// waiters answers FRESHET.ATLEAST of a test.
type waiters struct {
	arrived chan string // the token of each that waits
	release chan error  // what the next one answers
	left    chan string // the token of each whose client has left
}

func newWaiters() *waiters {
	return &waiters{arrived: make(chan string, 100), release: make(chan error), left: make(chan string, 100)}
}

func (w *waiters) atLeast(ctx context.Context, dataset, token string, wait time.Duration) error {
	switch {
	case strings.HasSuffix(token, "/1"):
		return nil
	case strings.HasSuffix(token, "/other"):
		return errors.New("OTHERHISTORY of another store")
	case wait == 0:
		return errors.New("NOTYET at once")
	}
	w.arrived <- fmt.Sprintf("%s %s %s", dataset, token, wait)
	select {
	case err := <-w.release:
		return err
	case <-ctx.Done():
		w.left <- token
		return ctx.Err()
	}
}

// A command that waits for a version holds up the commands of its own connection alone, and what is pushed to it arrives.
func TestAtLeast(t *testing.T) {
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		cfg := testConfig()
		cfg.WaitMax = 20 * time.Second
		p := newPort(cfg, map[string]*fake{"cities": cities(t)})
		w, tracker := newWaiters(), new(recorder)
		p.atLeast, p.tracker = w.atLeast, tracker
		r := start(p)
		c, other := r.dial(), r.dial()
		wait := func(ms ...string) string { return encode(append([]string{"FRESHET.ATLEAST", "cities/2"}, ms...)...) }
		c.send(encode("freshet.atleast", "cities/1") + encode("freshet.atleast", "cities/2", "0") + encode("freshet.atleast", "cities/other"))
		c.want("+OK\r\n-NOTYET at once\r\n-OTHERHISTORY of another store\r\n")
		c.send(encode("freshet.atleast", "cities/2", "-1") + encode("freshet.atleast", "cities/2", "1", "2") + encode("freshet.atleast", "towns/2"))
		c.want("-ERR \"-1\" is no number of milliseconds: want 0 or more; 0 waits for nothing\r\n-ERR wrong number of arguments for 'freshet.atleast' command\r\n-NODATASET ")
		if _, err := c.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}

		c.send(encode("HELLO", "3") + encode("CLIENT", "TRACKING", "on"))
		c.want(strings.ReplaceAll("%7|$6|server|$5|redis|$7|version|$5|7.2.0|$5|proto|:3|$2|id|:1|$4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0|+OK|", "|", "\r\n"))

		c.send(encode("ECHO", "before") + wait() + encode("ECHO", "after") + strings.Repeat(encode("GET", "cities:none"), 10_000))
		c.want("$6\r\nbefore\r\n")
		if got := <-w.arrived; got != "cities cities/2 1s" {
			t.Error(got)
		}
		other.send(encode("PING"))
		other.want("+PONG\r\n")
		other.send(encode("INFO", "clients"))
		other.want("$")
		if _, err := other.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		other.want("# Clients\r\nconnected_clients:2\r\nmaxclients:100\r\nblocked_clients:1\r\n\r\n")
		tracker.registered().Push([]byte(">1\r\n+push\r\n"))
		c.want(">1\r\n+push\r\n")
		w.release <- nil
		c.want("+OK\r\n$5\r\nafter\r\n" + strings.Repeat("$0\r\n\r\n", 10_000))

		// The longest wait, and one without a reply.
		c.send(encode("CLIENT", "REPLY", "skip") + wait("9000000000000000000") + encode("PING"))
		if got := <-w.arrived; got != "cities cities/2 20s" {
			t.Error(got)
		}
		w.release <- errors.New("NOTYET late")
		c.want("+PONG\r\n")
		c.send(wait("1234"))
		if got := <-w.arrived; got != "cities cities/2 1.234s" {
			t.Error(got)
		}
		w.release <- errors.New("NOTYET late")
		c.want("-NOTYET late\r\n")
		c.send(encode("PING"))
		c.want("+PONG\r\n")
	})
}

// A wait ends when the port stops. Commands that a client sends during its wait stay in the socket.
func TestAtLeastEnds(t *testing.T) {
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		cfg := testConfig()
		cfg.WaitMax = time.Hour
		p := newPort(cfg, map[string]*fake{"cities": cities(t)})
		w := newWaiters()
		p.atLeast = w.atLeast
		r := start(p)
		c := r.dial()
		c.send(encode("FRESHET.ATLEAST", "cities/2", "3600000"))
		<-w.arrived
		ping := []byte(strings.Repeat(encode("PING"), 1000))
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		for sent := 0; ; sent += len(ping) {
			if _, err := c.Write(ping); err != nil {
				break
			}
			if sent > 64<<20 {
				t.Fatal("the server reads on while the client waits")
			}
		}
		if n := p.waiting.Load(); n > 64<<10 {
			t.Errorf("%d bytes are kept", n)
		}
	})
}

// A wait ends when its client leaves.
func TestAtLeastClientLeaves(t *testing.T) {
	cfg := testConfig()
	cfg.WaitMax = time.Hour
	p := newPort(cfg, map[string]*fake{"cities": cities(t)})
	w := newWaiters()
	p.atLeast = w.atLeast
	r := serveOn(t, p, transport)
	for range 2 {
		c := r.dial()
		c.send(encode("FRESHET.ATLEAST", "cities/2", "3600000"))
		<-w.arrived
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		<-w.left
		if _, err := io.ReadAll(c.r); err != nil {
			t.Fatal(err)
		}
	}
	r.until("nothing waits", func() bool { return p.blocked.Load() == 0 })
}
