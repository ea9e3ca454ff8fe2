package pull

import (
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// maxBlamed bounds how many objects are remembered as damaged in the store.
const maxBlamed = 64

// blame tells whether wrong bytes were a relay's fault or the store's.
type blame struct {
	mu sync.Mutex
	// last is the object of which a relay last gave wrong bytes. Guarded by mu.
	last map[*relays.Relay]dataset.Digest
	// damaged are the objects that a relay found damaged in its store. They are asked for with Cache-Control: no-cache, so that
	// the relay says so again, or reads them again once they are healed. Guarded by mu.
	damaged map[dataset.Digest]bool
}

// relay takes note that r gave wrong bytes of the object.
func (b *blame) relay(r *relays.Relay, digest dataset.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = make(map[*relays.Relay]dataset.Digest)
	}
	b.last[r] = digest
}

// store takes note that r says that the object is damaged in its store, as err. If r is distrusted for that object, it is trusted again.
func (b *blame) store(set *relays.Set, r *relays.Relay, digest dataset.Digest, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.damaged) >= maxBlamed || b.damaged == nil {
		b.damaged = make(map[dataset.Digest]bool)
	}
	b.damaged[digest] = true
	if b.last[r] == digest {
		set.Absolve(r, err)
	}
}

// isStore reports whether the object was found damaged in the store.
func (b *blame) isStore(digest dataset.Digest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.damaged[digest]
}
