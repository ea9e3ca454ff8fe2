package tracking

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// peer is a client whose pushes tests read.
type peer struct {
	*Session
	proto atomic.Int32
	limit int // pushes that it takes, if above 0

	mu     sync.Mutex
	pushes [][]byte // guarded by mu
}

func (p *peer) Protocol() int { return int(p.proto.Load()) }

func (p *peer) Push(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit > 0 && len(p.pushes) >= p.limit {
		return false
	}
	p.pushes = append(p.pushes, bytes.Clone(b))
	return true
}

// connect returns a client that speaks RESP3.
func connect(t *Tracker) *peer {
	p := &peer{}
	p.proto.Store(3)
	p.Session = t.Register(p)
	return p
}

// say executes a command without quotes, as `client tracking on`, and returns the reply.
func (p *peer) say(command string) string {
	var args [][]byte
	for _, word := range strings.Fields(command) {
		args = append(args, []byte(word))
	}
	return string(p.Command(nil, args))
}

// read executes a command that reads the keys.
func (p *peer) read(keys ...string) {
	for _, k := range keys {
		p.Read([]byte(k))
	}
	p.Executed()
}

// take returns the invalidations since the last call: keys, and * for a flush.
func (p *peer) take(t testing.TB) []string {
	t.Helper()
	p.mu.Lock()
	pushes := p.pushes
	p.pushes = nil
	p.mu.Unlock()
	var all []string
	for _, b := range pushes {
		all = append(all, invalidated(t, b)...)
	}
	return all
}

// invalidated parses one push.
func invalidated(t testing.TB, b []byte) []string {
	t.Helper()
	const header = ">2\r\n$10\r\ninvalidate\r\n"
	rest, ok := bytes.CutPrefix(b, []byte(header))
	if !ok {
		t.Fatalf("a push is %q", b)
	}
	if string(rest) == "_\r\n" {
		return []string{"*"}
	}
	r := bufio.NewReader(bytes.NewReader(rest))
	number := func(kind byte) int {
		line, err := r.ReadString('\n')
		if err != nil || line[0] != kind {
			t.Fatalf("a push is %q", b)
		}
		n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
		if err != nil {
			t.Fatalf("a push is %q", b)
		}
		return n
	}
	var keys []string
	for range number('*') {
		key := make([]byte, number('$')+2)
		if _, err := io.ReadFull(r, key); err != nil {
			t.Fatalf("a push is %q", b)
		}
		keys = append(keys, string(key[:len(key)-2]))
	}
	if len(keys) == 0 || r.Buffered() > 0 {
		t.Fatalf("a push is %q", b)
	}
	return keys
}

func newTracker(t testing.TB, keys int, datasets ...string) *Tracker {
	t.Helper()
	tracker, err := New(Config{Keys: keys}, Deps{Datasets: datasets})
	if err != nil {
		t.Fatal(err)
	}
	return tracker
}

// changed invalidates keys of records.
func changed(t testing.TB, tracker *Tracker, dataset string, keys ...string) {
	tracker.Changed(t.Context(), dataset, each(keys...))
}

func each(keys ...string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, k := range keys {
			if !yield([]byte(k)) {
				return
			}
		}
	}
}

// numbered returns keys prefix0 to prefix(n-1).
func numbered(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint(prefix, i)
	}
	return keys
}

func same(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
