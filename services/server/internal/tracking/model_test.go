package tracking

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// version is a served version of the model's dataset: the value of a key is the number of the version that changed it last, or, after a
// change back, the number that it had before.
type version map[string]int

// model is a dataset whose versions are served as subscribe serves them: the pointer first, then the callback with merged swaps.
type model struct {
	tracker *Tracker
	served  atomic.Pointer[version]

	mu      sync.Mutex
	pending []string // guarded by mu: keys of swaps that the callback has not taken
	full    bool     // guarded by mu: one of them is a full load
	wake    chan struct{}
}

// swap serves a version with changes and passes it to the callback.
func (m *model) swap(r *rand.Rand, number int, keys []string) {
	old := *m.served.Load()
	next := maps.Clone(old)
	var touched []string
	for range 1 + r.IntN(8) {
		key := keys[r.IntN(len(keys))]
		touched = append(touched, key)
		next[key] = number
	}
	m.served.Store(&next)
	pause(r)
	if r.IntN(3) == 0 { // and back, so that nothing differs in a merged swap
		m.served.Store(&old)
	}
	m.mu.Lock()
	m.pending, m.full = append(m.pending, touched...), m.full || r.IntN(20) == 0
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// pause lets other goroutines run, sometimes.
func pause(r *rand.Rand) {
	for range r.IntN(6) {
		runtime.Gosched()
	}
}

// follow is the callback's goroutine. It ends when wake is closed and all swaps are done.
func (m *model) follow(t *testing.T) {
	for open := true; open; {
		_, open = <-m.wake
		m.mu.Lock()
		keys, full := m.pending, m.full
		m.pending, m.full = nil, false
		m.mu.Unlock()
		if full {
			m.tracker.Flush(t.Context(), "d")
		} else {
			changed(t, m.tracker, "d", keys...)
		}
	}
}

// answer is what a client reads from its connection: the value of a key, or an invalidation.
type answer struct {
	key   string
	value int
	push  []byte
}

// cache is a client with its cache. Its connection is a list of answers in the order in which they are written.
type cache struct {
	*Session
	mode   string
	rand   *rand.Rand
	values map[string]int

	mu   sync.Mutex
	busy bool     // guarded by mu: a command is executed
	late [][]byte // guarded by mu: pushes that follow its answer
	wire []answer // guarded by mu
}

func (c *cache) Protocol() int { return 3 }

// Push is that of a port: after the answers of commands that have begun.
func (c *cache) Push(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy {
		c.late = append(c.late, b)
	} else {
		c.wire = append(c.wire, answer{push: b})
	}
	return true
}

// get executes a command that reads the keys.
func (c *cache) get(m *model, r *rand.Rand, keys ...string) {
	c.mu.Lock()
	c.busy = true
	c.mu.Unlock()
	if c.Tracking() {
		for _, k := range keys {
			c.Read([]byte("d:" + k))
		}
	}
	pause(r)
	table := *m.served.Load()
	pause(r)
	c.mu.Lock()
	for _, k := range keys {
		c.wire = append(c.wire, answer{key: "d:" + k, value: table[k]})
	}
	c.busy = false
	for _, b := range c.late {
		c.wire = append(c.wire, answer{push: b})
	}
	c.late = nil
	c.mu.Unlock()
	c.Executed()
}

// receive applies what is on the wire to the cache.
func (c *cache) receive(t testing.TB) {
	c.mu.Lock()
	wire := c.wire
	c.wire = nil
	c.mu.Unlock()
	for _, a := range wire {
		if a.push == nil {
			c.values[a.key] = a.value
			continue
		}
		for _, key := range invalidated(t, a.push) {
			if key == "*" {
				clear(c.values)
			}
			delete(c.values, key)
		}
	}
}

// check compares the cache with the served version. Nothing is changed any more.
func (c *cache) check(t *testing.T, m *model) {
	c.receive(t)
	table := *m.served.Load()
	for key, value := range c.values {
		if want := table[strings.TrimPrefix(key, "d:")]; value != want {
			t.Fatalf("a client with %s has %d for %s, served is %d", c.mode, value, key, want)
		}
	}
}

// TestModel: clients of all modes read, while versions are swapped in, changed back and reloaded, keys fall out and clients turn tracking off and
// on. Whenever all is quiet, no client has a value other than the served one.
func TestModel(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, uint64(seed)) })
	}
}

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	keys := numbered("k", 1+r.IntN(100))
	limit := 1 + r.IntN(400)
	m := &model{tracker: newTracker(t, limit, "d")}
	m.tracker.keysASwap = 1 + r.IntN(20) // so that clients have flushes in the middle of a swap
	m.served.Store(&version{})
	var caches []*cache
	for i, mode := range []string{"on", "on", "on bcast", "on bcast prefix d:k1 prefix d:k2", "on optin", "on noloop"} {
		c := &cache{mode: mode, values: make(map[string]int), rand: rand.New(rand.NewPCG(seed, uint64(i)+2))}
		c.Session = m.tracker.Register(c)
		c.command(t, "tracking "+mode)
		caches = append(caches, c)
	}
	number := 0
	for range 60 {
		m.wake = make(chan struct{}, 1)
		var following, reading sync.WaitGroup
		following.Go(func() { m.follow(t) })
		for _, c := range caches {
			reading.Go(func() { c.read(t, m, keys) })
		}
		for range 4 {
			number++
			m.swap(r, number, keys)
			pause(r)
		}
		reading.Wait()
		close(m.wake)
		following.Wait()
		for _, c := range caches {
			c.check(t, m)
		}
		if n := m.tracker.total.Load(); n > int64(limit) || n != held(m.tracker) {
			t.Fatalf("%d keys are tracked, %d held; the limit is %d", n, held(m.tracker), limit)
		}
	}
}

func (c *cache) command(t *testing.T, text string) {
	var args [][]byte
	for _, word := range strings.Fields("client " + text) {
		args = append(args, []byte(word))
	}
	if reply := c.Command(nil, args); string(reply) != "+OK\r\n" {
		t.Errorf("%s: %s", text, reply)
	}
}

// read reads a few random keys as a client of the mode does, one or several at a time.
func (c *cache) read(t *testing.T, m *model, keys []string) {
	r := c.rand
	if r.IntN(10) == 0 { // as a client that connects again
		c.command(t, "tracking off")
		c.receive(t)
		clear(c.values)
		c.command(t, "tracking "+c.mode)
	}
	for range 10 {
		if strings.HasSuffix(c.mode, "optin") {
			c.command(t, "caching yes")
		}
		wanted := make([]string, 1+r.IntN(3))
		for i := range wanted {
			wanted[i] = keys[r.IntN(len(keys))]
			if strings.Contains(c.mode, "prefix") {
				wanted[i] = fmt.Sprint("k", 1+r.IntN(2)) // what the client may cache
			}
		}
		c.get(m, r, wanted...)
		if r.IntN(3) == 0 {
			c.receive(t)
		}
	}
}
