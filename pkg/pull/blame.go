package pull

import (
	"maps"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// maxBlamed bounds how many objects are remembered, for each relay and in all.
const maxBlamed = 64

// blame tells whether wrong bytes were a relay's fault or the store's.
type blame struct {
	mu sync.Mutex
	// refused are the objects of which a relay gave wrong bytes, and when, without those that are damaged in its store. Guarded by mu.
	refused map[*relays.Relay]map[dataset.Digest]time.Time
	// damaged are the objects that a relay found damaged in its store. They are asked for with Cache-Control: no-cache, so that
	// the relay says so again, or reads them again once they are healed. Guarded by mu.
	damaged map[dataset.Digest]bool
}

// relay records that r gave wrong bytes of the object.
func (b *blame) relay(r *relays.Relay, digest dataset.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused == nil {
		b.refused = make(map[*relays.Relay]map[dataset.Digest]time.Time)
	}
	if b.refused[r] == nil || len(b.refused[r]) >= maxBlamed {
		b.refused[r] = make(map[dataset.Digest]time.Time)
	}
	b.refused[r][digest] = time.Now()
}

// store records that r says that the object is damaged in its store, as err. If r is distrusted for nothing but such objects, it
// is trusted again.
func (b *blame) store(c *Client, r *relays.Relay, digest dataset.Digest, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.damaged) >= maxBlamed || b.damaged == nil {
		b.damaged = make(map[dataset.Digest]bool)
	}
	b.damaged[digest] = true
	if _, ok := b.refused[r][digest]; !ok {
		return
	}
	delete(b.refused[r], digest)
	maps.DeleteFunc(b.refused[r], func(_ dataset.Digest, at time.Time) bool { return time.Since(at) >= c.cfg.Distrust })
	if len(b.refused[r]) == 0 {
		c.relays.Absolve(r, err)
	}
}

// served records that a relay gives the object that was asked for past its cache.
func (b *blame) served(digest dataset.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.damaged, digest)
}

// isStore reports whether the object was found damaged in the store.
func (b *blame) isStore(digest dataset.Digest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.damaged[digest]
}
