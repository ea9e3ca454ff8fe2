package publish

import (
	"fmt"
	"sync"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// replaceAgain is the least time between two replacements of a store's versions by those of another.
const replaceAgain = time.Minute

// replaced remembers when versions of which stores were replaced in the event log and the catalog. A store that was created
// again follows another one once. If versions of the other store come back, both stores are in use, and a replacement at each
// beacon would help no instance. One a minute heals the log when the other store's publisher is gone.
type replaced struct {
	mu sync.Mutex
	at map[replacement]time.Time // guarded by mu
}

type replacement struct {
	what, dataset string
	store         dataset.StoreID
}

// allow returns an error if a version of over's store, which is another one, was replaced less than replaceAgain ago. what is the side that
// holds over, ours the id of the own store and newest its newest version.
func (r *replaced) allow(what string, over dataset.VersionRecord, ours dataset.StoreID, newest dataset.Ref) error {
	if over.StoreID.IsZero() || over.StoreID == ours {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.at[replacement{what, over.Dataset, over.StoreID}]; ok && time.Since(at) < replaceAgain {
		conflict, server := events.ErrConflict, "a NATS"
		if what == RepairIndex {
			conflict, server = catalog.ErrConflict, "a Redis"
		}
		return fmt.Errorf("%w: version %s of dataset %q: it is of store %s, and this is store %s, whose newest version is %s; "+
			"give each store a FRESHET_NAMESPACE of its own, or %s, and restart the publishers",
			conflict, over.Ref(), over.Dataset, over.StoreID, ours, newest, server)
	}
	return nil
}

// done records that over was replaced by a version of the store ours. A version of the own store is replaced as often as a restore
// makes it necessary.
func (r *replaced) done(what string, over dataset.VersionRecord, ours dataset.StoreID) {
	if over.StoreID.IsZero() || over.StoreID == ours {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[replacement]time.Time{}
	}
	r.at[replacement{what, over.Dataset, over.StoreID}] = time.Now()
}
