package tracking

import (
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Config configures a tracker.
type Config struct {
	// Keys is how many keys are tracked for all clients together, at least 1.
	Keys int
}

// Deps are what a tracker uses.
type Deps struct {
	// Datasets are the names of all datasets that clients can read.
	Datasets []string
	// Registry gets the tracker's metrics.
	Registry prometheus.Registerer
}

// Client is a connection that speaks Redis' protocol. Its methods are safe for concurrent use, also after the connection has ended.
type Client interface {
	// Protocol returns 2 or 3, the version of the protocol that the client selected with HELLO.
	Protocol() int
	// Push sends b, a whole push of RESP3, after the replies to all commands whose execution has begun. Push copies b and never waits. It
	// returns false if the client has gone or takes too little of what was pushed; then its connection ends.
	Push(b []byte) bool
}

// Tracker knows what clients track. It is safe for concurrent use.
type Tracker struct {
	limit    int64
	seed     maphash.Seed
	datasets map[string]*keys // never changes
	order    []*keys          // the same
	counts   counts

	keysASwap int // maxKeysASwap, or fewer in tests

	total  atomic.Int64 // tracked keys, each once for each client
	gone   atomic.Int64 // those of watches that have ended, at most
	active atomic.Int64 // sessions that track
	sweeps sync.Mutex   // held by a sweep
}

// New returns a tracker that nothing uses yet.
func New(cfg Config, deps Deps) (*Tracker, error) {
	if cfg.Keys < 1 {
		return nil, errors.New("tracking: Config.Keys must be at least 1")
	}
	t := &Tracker{
		limit: int64(cfg.Keys), seed: maphash.MakeSeed(), datasets: make(map[string]*keys, len(deps.Datasets)),
		keysASwap: maxKeysASwap,
	}
	for _, name := range deps.Datasets {
		d := &keys{prefix: name + ":"}
		t.datasets[name] = d
		t.order = append(t.order, d)
	}
	if deps.Registry != nil {
		deps.Registry.MustRegister(collector{t})
	}
	return t, nil
}

// Register returns a session for the client, which tracks nothing yet. The caller must close the session when the client disconnects or resets
// its connection.
func (t *Tracker) Register(c Client) *Session { return &Session{t: t, client: c} }

// bound evicts keys until the bound holds.
func (t *Tracker) bound() {
	for t.total.Load() > t.limit && t.evict() {
	}
}

// evict makes a random key fall out and invalidates it. It returns false if no key is tracked.
func (t *Tracker) evict() bool {
	at := rand.Int64N(max(t.total.Load(), 1))
	first := 0
	for i, d := range t.order { // a dataset is chosen in proportion to its tracked keys
		if at -= d.n.Load(); at < 0 {
			first = i
			break
		}
	}
	for i := range t.order {
		d := t.order[(first+i)%len(t.order)]
		key, readers, ok := d.takeAny(t)
		if !ok {
			continue
		}
		t.counts.evictions.Add(1)
		m := &message{}
		m.add(d.prefix, []byte(key))
		for w := range readers.all {
			w.deliver(m)
		}
		return true
	}
	return false
}

// end ends a watch, and removes the keys of all watches that have ended when they are half of the tracked keys.
func (t *Tracker) end(w *watch) {
	w.ended.Store(true)
	const few = 1 << 10 // not worth a sweep
	if gone := t.gone.Add(w.n.Load()); gone < few || gone < t.total.Load()/2 || !t.sweeps.TryLock() {
		return
	}
	defer t.sweeps.Unlock()
	t.gone.Store(0)
	for _, d := range t.order {
		for i := range d.shards {
			t.total.Add(-d.sweep(&d.shards[i]))
		}
	}
}
