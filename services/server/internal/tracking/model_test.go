package tracking

import (
	"fmt"
	"math/rand/v2"
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
	next := make(version, len(old))
	for k, v := range old {
		next[k] = v
	}
	var touched []string
	full := r.IntN(20) == 0
	for range 1 + r.IntN(8) {
		key := keys[r.IntN(len(keys))]
		touched = append(touched, key)
		next[key] = number
	}
	m.served.Store(&next)
	if r.IntN(3) == 0 { // and back, so that nothing differs in a merged swap
		m.served.Store(&old)
	}
	m.mu.Lock()
	m.pending, m.full = append(m.pending, touched...), m.full || full
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// follow is the callback's goroutine. It ends when wake is closed and all swaps are done.
func (m *model) follow(t *testing.T) {
	for {
		_, open := <-m.wake
		m.mu.Lock()
		keys, full := m.pending, m.full
		m.pending, m.full = nil, false
		m.mu.Unlock()
		if full {
			m.tracker.Flush(t.Context(), "d")
		} else {
			changed(t, m.tracker, "d", keys...)
		}
		if !open {
			return
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
func (c *cache) get(m *model, keys ...string) {
	c.mu.Lock()
	c.busy = true
	c.mu.Unlock()
	if c.Tracking() {
		for _, k := range keys {
			c.Read([]byte("d:" + k))
		}
	}
	table := *m.served.Load()
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
func (c *cache) check(t *testing.T, m *model, how string) {
	c.receive(t)
	table := *m.served.Load()
	for key, value := range c.values {
		if want := table[strings.TrimPrefix(key, "d:")]; value != want {
			t.Errorf("a client with %s has %d for %s, served is %d", how, value, key, want)
		}
	}
}

// TestModel: clients of all modes read, while versions are swapped in, changed back and reloaded, keys fall out and clients turn tracking off and
// on. In the end no client has a value other than the served one.
func TestModel(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, uint64(seed)) })
	}
}

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	keys := numbered("k", 1+r.IntN(60))
	limit := 1 + r.IntN(400)
	m := &model{tracker: newTracker(t, limit, "d"), wake: make(chan struct{}, 1)}
	m.tracker.keysASwap = 1 + r.IntN(20) // so that clients have flushes in the middle of a swap
	m.served.Store(&version{})
	modes := []string{"on", "on", "on bcast", "on bcast prefix d:k1 prefix d:k2", "on optin", "on noloop"}
	var following, reading sync.WaitGroup
	following.Go(func() { m.follow(t) })
	caches := make([]*cache, len(modes))
	for i, mode := range modes {
		c := &cache{values: make(map[string]int)}
		c.Session = m.tracker.Register(c)
		caches[i] = c
		r := rand.New(rand.NewPCG(seed, uint64(i)+2))
		reading.Go(func() { c.read(t, m, r, mode, keys) })
	}
	for n := range 300 {
		m.swap(r, n+1, keys)
	}
	reading.Wait()
	close(m.wake)
	following.Wait()
	for i, c := range caches {
		c.check(t, m, modes[i])
		c.Close()
	}
	if n := m.tracker.total.Load(); n > int64(limit) || n != held(m.tracker) {
		t.Errorf("%d keys are tracked, %d held; the limit is %d", n, held(m.tracker), limit)
	}
}

// read reads random keys as a client of the mode does, one or several at a time.
func (c *cache) read(t *testing.T, m *model, r *rand.Rand, mode string, keys []string) {
	command := func(text string) {
		var args [][]byte
		for _, word := range strings.Fields("client " + text) {
			args = append(args, []byte(word))
		}
		if reply := c.Command(nil, args); string(reply) != "+OK\r\n" {
			t.Errorf("%s: %s", text, reply)
		}
	}
	command("tracking " + mode)
	for range 400 {
		if r.IntN(50) == 0 { // as a client that connects again
			command("tracking off")
			c.receive(t)
			clear(c.values)
			command("tracking " + mode)
		}
		if strings.HasSuffix(mode, "optin") {
			command("caching yes")
		}
		wanted := make([]string, 1+r.IntN(3))
		for i := range wanted {
			wanted[i] = keys[r.IntN(len(keys))]
			if strings.Contains(mode, "prefix") {
				wanted[i] = fmt.Sprint("k", 1+r.IntN(2)) // what the client may cache
			}
		}
		c.get(m, wanted...)
		if r.IntN(3) == 0 {
			c.receive(t)
		}
	}
}
