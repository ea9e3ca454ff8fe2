package resp

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// recorder is a tracker of a test, with one client.
type recorder struct {
	mu     sync.Mutex
	client Client
	calls  []string
	// onRead, if not nil, is called in Read.
	onRead func(client Client)
}

func (r *recorder) Register(c Client) Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.client = c
	return r
}

// registered returns the client that has registered.
func (r *recorder) registered() Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.client
}

func (r *recorder) note(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
}

func (r *recorder) noted() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.calls, " ")
}

func (r *recorder) Tracking() bool { return true }

func (r *recorder) Read(key []byte) {
	r.note("read:" + string(key))
	if r.onRead != nil {
		r.onRead(r.registered())
	}
}

func (r *recorder) Command(dst []byte, args [][]byte) []byte {
	r.note(strings.ToLower(string(args[1])))
	return appendOK(dst)
}

func (r *recorder) Executed() { r.note("executed") }

func (r *recorder) Close() { r.note("close") }

// A session learns of every key that a command reads, before it is read, of each command's end, and of the connection's.
func TestSession(t *testing.T) {
	p := newPort(testConfig(), map[string]*fake{"cities": cities(t)})
	tracker := new(recorder)
	p.tracker = tracker
	k := newTalk(t, p)
	k.want("GET cities:x", "$-1")
	k.want("CLIENT TRACKING on", "+OK")
	k.want("CLIENT CACHING yes", "+OK")
	k.want("MGET cities:a cities:b", "*2|$-1|$-1")
	k.want("HGET cities:c x", "$-1")
	k.want("TTL cities:d", ":-2")
	k.want("PING", "+PONG")
	k.want("RESET", "+RESET")
	k.want("GET cities:x", "$-1")
	want := "tracking caching read:cities:a read:cities:b executed read:cities:c executed read:cities:d executed executed close"
	if got := tracker.noted(); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// A message that is pushed during a command follows its reply. Without a command, it arrives at once.
func TestPush(t *testing.T) {
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		p := newPort(testConfig(), map[string]*fake{"cities": cities(t)})
		tracker := &recorder{onRead: func(c Client) { c.Push([]byte(">1\r\n+read\r\n")) }}
		p.tracker = tracker
		r := start(p)
		c := r.dial()
		c.send(encode("CLIENT", "TRACKING", "on"))
		c.want("+OK\r\n")
		if !tracker.registered().Push([]byte("RESP2 has no pushes")) {
			t.Error("a client of RESP2 is taken for slow")
		}
		c.send(encode("HELLO", "3"))
		c.want(strings.ReplaceAll(fmt.Sprintf("%%7|$6|server|$5|redis|$7|version|$5|7.2.0|$5|proto|:3|$2|id|:%d|$4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0|", tracker.registered().ID()), "|", "\r\n"))
		c.send(encode("GET", "cities:raw") + encode("GET", "cities:x"))
		c.want("$4\r\n\x00\x01\r\n\r\n_\r\n>1\r\n+read\r\n>1\r\n+read\r\n")
		for i := range 100 {
			push := fmt.Sprintf(">1\r\n:%d\r\n", i)
			if !tracker.registered().Push([]byte(push)) {
				t.Fatal("the client is gone")
			}
			c.want(push)
		}
		_ = c.Close()
		r.until("the session is closed", func() bool { return strings.HasSuffix(tracker.noted(), "close") })
		if tracker.registered().Push([]byte(">0\r\n")) {
			t.Error("a closed connection takes pushes")
		}
	})
}

// A client that does not read what is pushed is cut, and Push never waits for it.
func TestSlowReaderOfPushes(t *testing.T) {
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		p := newPort(testConfig(), map[string]*fake{"cities": cities(t)})
		tracker := new(recorder)
		p.tracker = tracker
		r := start(p)
		c := r.dial()
		c.send(encode("HELLO", "3") + encode("CLIENT", "TRACKING", "on"))
		r.until("the client is registered", func() bool { return tracker.noted() != "" })
		push := []byte(">1\r\n$1000\r\n" + strings.Repeat("x", 1000) + "\r\n")
		sent := 0
		for tracker.registered().Push(push) {
			sent += len(push)
		}
		r.until("the connection is closed", func() bool { return p.count() == 0 && strings.HasSuffix(tracker.noted(), "close") })
		if n := p.metrics.cut[cutPushes].Load() + p.metrics.cut[cutOutput].Load(); n != 1 {
			t.Errorf("%d cut, after %d bytes", n, sent)
		}
	})
}

// Messages that wait for all clients together are bounded as replies are, and no longer counted when they are sent or dropped.
func TestPushesToAllAreBounded(t *testing.T) {
	cfg := testConfig()
	p := newPort(cfg, nil)
	message := make([]byte, cfg.Output/2)
	var conns []*conn
	for range 2*outputsOfAll + 1 {
		c := &conn{wake: func() {}}
		p.attach(c, &net.TCPAddr{}, &net.TCPAddr{})
		c.proto.Store(3)
		if got, want := c.Push(message), len(conns) < 2*outputsOfAll; got != want {
			t.Fatalf("the push to client %d: %v, want %v", len(conns)+1, got, want)
		}
		conns = append(conns, c)
	}
	if _, ok := conns[0].takePushed(nil); !ok {
		t.Error("the first client is to be closed")
	}
	conns[1].speak(2)
	if got, want := p.waiting.Load(), int64((2*outputsOfAll-2)*len(message)); got != want {
		t.Errorf("%d bytes wait, want %d", got, want)
	}
	if !conns[0].Push(message) {
		t.Error("a push is refused though there is room again")
	}
	for _, c := range conns {
		p.detach(c)
	}
	if got := p.waiting.Load(); got != 0 {
		t.Errorf("%d bytes are still counted after all clients have left", got)
	}
}
