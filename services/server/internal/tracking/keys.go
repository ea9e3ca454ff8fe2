package tracking

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// shards is how many parts the keys of a dataset are in, so that connections rarely wait for each other.
const shards = 64

// keys are the tracked keys of one dataset, and the prefixes in it.
type keys struct {
	prefix string       // the name and a colon
	n      atomic.Int64 // tracked keys, each once for each client
	shards [shards]shard
	bcast  prefixes
}

// shard is a part of the tracked keys.
type shard struct {
	mu   sync.Mutex
	keys map[string]readers // guarded by mu
	peak int                // guarded by mu: the most keys since the map was made
	_    [40]byte           // a cache line for each shard
}

// readers are the watches that track a key: one, or the members of more.
type readers struct {
	one  *watch
	more map[*watch]struct{}
}

// all passes each watch to yield.
func (r readers) all(yield func(*watch) bool) {
	if r.one != nil {
		yield(r.one)
		return
	}
	for w := range r.more {
		if !yield(w) {
			return
		}
	}
}

// len returns the number of watches.
func (r readers) len() int64 {
	if r.one != nil {
		return 1
	}
	return int64(len(r.more))
}

func (t *Tracker) shard(d *keys, key []byte) *shard {
	return &d.shards[maphash.Bytes(t.seed, key)%shards]
}

// add records that w reads the key.
func (t *Tracker) add(d *keys, key []byte, w *watch) {
	sh := t.shard(d, key)
	sh.mu.Lock()
	if r, ok := sh.keys[string(key)]; ok {
		_, in := r.more[w]
		if in || r.one == w {
			sh.mu.Unlock()
			return
		}
		if r.one != nil {
			r = readers{more: map[*watch]struct{}{r.one: {}}}
			sh.keys[string(key)] = r
		}
		r.more[w] = struct{}{}
	} else {
		if sh.keys == nil {
			sh.keys = make(map[string]readers)
		}
		sh.keys[string(key)] = readers{one: w}
		sh.peak = max(sh.peak, len(sh.keys))
	}
	w.n.Add(1)
	d.n.Add(1)
	total := t.total.Add(1)
	sh.mu.Unlock()
	if total > t.limit {
		t.bound()
	}
}

// take forgets the key and returns its readers; ok is false if it is not tracked.
func (d *keys) take(t *Tracker, key []byte) (r readers, ok bool) {
	sh := t.shard(d, key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r, ok = sh.keys[string(key)]; ok {
		t.forget(d, sh, string(key), r)
	}
	return r, ok
}

// takeAny forgets a random key and returns it.
func (d *keys) takeAny(t *Tracker) (key string, r readers, ok bool) {
	first := rand.IntN(shards)
	for i := range shards {
		if key, r, ok = d.takeFrom(t, &d.shards[(first+i)%shards]); ok {
			break
		}
	}
	return key, r, ok
}

func (d *keys) takeFrom(t *Tracker, sh *shard) (key string, r readers, ok bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for key, r = range sh.keys { // begins at a random one
		t.forget(d, sh, key, r)
		return key, r, true
	}
	return "", readers{}, false
}

// forget removes the key. The caller holds the shard's lock.
func (t *Tracker) forget(d *keys, sh *shard, key string, r readers) {
	delete(sh.keys, key)
	sh.shrink()
	for w := range r.all {
		w.n.Add(-1)
	}
	d.n.Add(-r.len())
	t.total.Add(-r.len())
}

// shrink copies the map once it is mostly empty, because a map of Go keeps its memory, and finding any key of a sparse one is slow. The
// caller holds the lock.
func (sh *shard) shrink() {
	const small = 64
	if sh.peak < small || len(sh.keys) > sh.peak/8 {
		return
	}
	keys := make(map[string]readers, len(sh.keys))
	for key, r := range sh.keys {
		keys[key] = r
	}
	sh.keys, sh.peak = keys, len(keys)
}

// takeAll forgets all keys of the shard and adds their watches to all.
func (d *keys) takeAll(t *Tracker, sh *shard, all map[*watch]struct{}) {
	sh.mu.Lock()
	taken := sh.keys
	sh.keys, sh.peak = nil, 0
	var n int64
	for _, r := range taken {
		n += r.len()
	}
	d.n.Add(-n)
	t.total.Add(-n)
	sh.mu.Unlock()
	var last *watch
	for _, r := range taken {
		for w := range r.all {
			w.n.Add(-1)
			if w != last { // most keys have the reader of the key before
				all[w] = struct{}{}
				last = w
			}
		}
	}
}

// sweep removes the watches that have ended, and the keys that no other watch has. It returns how many it removed.
func (d *keys) sweep(sh *shard) (removed int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for key, r := range sh.keys {
		before := r.len()
		switch {
		case r.one == nil:
			for w := range r.more {
				if w.ended.Load() {
					delete(r.more, w)
				}
			}
		case r.one.ended.Load():
			r = readers{}
		}
		if r.len() == 0 {
			delete(sh.keys, key)
		}
		removed += before - r.len()
	}
	d.n.Add(-removed)
	sh.shrink()
	return removed
}
