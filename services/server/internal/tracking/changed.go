package tracking

import (
	"context"
	"iter"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe"
)

const (
	// A push has at most this many keys, or bytes of keys and one key more.
	maxKeysAPush  = 256
	maxBytesAPush = 16 << 10
	// A client that one swap would invalidate more of has a flush instead, so that a large delta does not fill the buffers of clients that read.
	maxKeysASwap  = 10_000
	maxBytesASwap = 256 << 10
	// maxPending is how many bytes of keys a walk gathers for all clients, and sendEvery after how many changes it sends what it gathered.
	maxPending = 1 << 20
	sendEvery  = 4096
	yieldEvery = 64
)

// Swapped invalidates what a swap changes. Call it for each swap of a dataset, one at a time, after the version is served.
func (t *Tracker) Swapped(ctx context.Context, swap subscribe.Swap) {
	keys, ok := swap.Touched()
	if !ok || swap.Replayed {
		t.Flush(ctx, swap.Dataset)
		return
	}
	t.Changed(ctx, swap.Dataset, keys)
}

// Changed invalidates the keys of records that changed. The changes must be served already, and keys must include those that changed in a version
// that was served for a short time, and changed back. Changed costs nothing if no client tracks keys of the dataset. It yields the lane of ctx; if
// ctx ends, it flushes instead.
func (t *Tracker) Changed(ctx context.Context, name string, keys iter.Seq[[]byte]) {
	if !t.Tracks(name) {
		return
	}
	d := t.datasets[name]
	w := walk{t: t, d: d}
	n := 0
	for key := range keys {
		w.change(key)
		if n++; n%yieldEvery > 0 {
			continue
		}
		if ctx.Err() != nil {
			t.Flush(ctx, name)
			return
		}
		if n%sendEvery == 0 || w.pending > maxPending {
			w.send()
		}
		lane.Yield(ctx)
	}
	w.send()
}

// Tracks reports whether clients track keys of the dataset.
func (t *Tracker) Tracks(name string) bool {
	d := t.datasets[name]
	return d != nil && (d.n.Load() > 0 || d.bcast.n.Load() > 0)
}

// Flush invalidates all keys of the dataset: each client that tracks some has one flush, which is an invalidation of all keys of all datasets.
// Flush yields the lane of ctx, and completes also after the end of ctx.
func (t *Tracker) Flush(ctx context.Context, name string) {
	if !t.Tracks(name) {
		return
	}
	d := t.datasets[name]
	watches := make(map[*watch]struct{})
	for i := range d.shards {
		d.takeAll(t, &d.shards[i], watches)
		lane.Yield(ctx)
	}
	flush := &message{}
	for w := range watches {
		w.deliver(flush)
	}
	for s := range d.bcast.everyone() {
		s.deliver(flush)
	}
}

// walk gathers the invalidations of one swap.
type walk struct {
	t       *Tracker
	d       *keys
	keyed   map[*watch]*batch
	groups  map[*group]*batch
	matched []*group // reused
	pending int      // bytes of keys that have not been sent
}

// batch are the invalidations of a watch or group that have not been sent, with how much the walk has sent it.
type batch struct {
	message
	keys, bytes int // in all
	flushed     bool
}

func (b *batch) full() bool { return b.n >= maxKeysAPush || len(b.body) >= maxBytesAPush }

// tooMuch reports whether the client is to have a flush instead of more keys.
func (w *walk) tooMuch(b *batch) bool { return b.keys > w.t.keysASwap || b.bytes > maxBytesASwap }

// change invalidates the key of a record.
func (w *walk) change(key []byte) {
	if w.d.n.Load() > 0 {
		if readers, ok := w.d.take(w.t, key); ok {
			for r := range readers.all {
				w.keyChanged(r, key)
			}
		}
	}
	if w.d.bcast.n.Load() > 0 {
		w.matched = w.d.bcast.match(key, w.matched[:0])
		for _, g := range w.matched {
			w.prefixChanged(g, key)
		}
	}
}

func (w *walk) keyChanged(r *watch, key []byte) {
	if r.ended.Load() {
		return
	}
	b := batchOf(&w.keyed, r)
	w.gather(b, key)
	switch {
	case w.tooMuch(b):
		w.clear(b)
		delete(w.keyed, r)
		r.flush()
	case b.full():
		w.sendKeys(r, b)
	}
}

func (w *walk) prefixChanged(g *group, key []byte) {
	b := batchOf(&w.groups, g)
	if b.flushed {
		return // a session that joins the group after the flush reads what the swap serves
	}
	w.gather(b, key)
	switch {
	case w.tooMuch(b):
		w.clear(b)
		b.flushed = true
		w.toGroup(g, &message{})
	case b.full():
		w.sendGroup(g, b)
	}
}

func batchOf[K comparable](m *map[K]*batch, k K) *batch {
	if *m == nil {
		*m = make(map[K]*batch)
	}
	b := (*m)[k]
	if b == nil {
		b = &batch{}
		(*m)[k] = b
	}
	return b
}

func (w *walk) gather(b *batch, key []byte) {
	before := len(b.body)
	b.add(w.d.prefix, key)
	b.keys++
	b.bytes += len(b.body) - before
	w.pending += len(b.body) - before
}

// clear forgets what has not been sent.
func (w *walk) clear(b *batch) {
	w.pending -= len(b.body)
	b.message = message{body: b.body[:0]}
}

func (w *walk) sendKeys(r *watch, b *batch) {
	r.deliver(&b.message)
	w.clear(b)
}

func (w *walk) sendGroup(g *group, b *batch) {
	w.toGroup(g, &b.message)
	w.clear(b)
}

func (w *walk) toGroup(g *group, m *message) {
	for _, s := range w.d.bcast.members(g) {
		s.deliver(m)
	}
}

// send sends everything that has not been sent.
func (w *walk) send() {
	for r, b := range w.keyed {
		if b.n > 0 {
			w.sendKeys(r, b)
		}
	}
	for g, b := range w.groups {
		if b.n > 0 {
			w.sendGroup(g, b)
		}
	}
}
