package follow

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

// replaced limits how often versions of another store are replaced. A store that was created again follows the other one once. If
// versions of the other store come back, both stores are in use, and a replacement at each beacon would help no instance. One a minute
// heals the log when the other store's publisher is gone. The zero replaced is ready for use.
type replaced struct {
	mu sync.Mutex
	at map[replacement]time.Time // guarded by mu
}

type replacement struct {
	what, dataset string
	store         dataset.StoreID
}

// allow returns an error if a version of over's store, which is another one, was replaced less than replaceAgain ago. Over is of
// the follower called what; own is the id of this store, and newest its newest version.
func (r *replaced) allow(what string, over dataset.VersionRecord, own dataset.StoreID, newest dataset.Ref) error {
	if over.StoreID.IsZero() || over.StoreID == own {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.at[replacement{what, over.Dataset, over.StoreID}]; ok && time.Since(at) < replaceAgain {
		conflict, server := events.ErrConflict, "a NATS"
		if what == Index {
			conflict, server = catalog.ErrConflict, "a Redis"
		}
		return fmt.Errorf("%w: version %s of dataset %q: it is of store %s, and this is store %s, whose newest version is %s; "+
			"give each store its own FRESHET_NAMESPACE, or %s, and restart the publishers",
			conflict, over.Ref(), over.Dataset, over.StoreID, own, newest, server)
	}
	return nil
}

// done records that a version of the store own replaced over. It does not limit versions of the own store, which a restore may make
// necessary to replace.
func (r *replaced) done(what string, over dataset.VersionRecord, own dataset.StoreID) {
	if over.StoreID.IsZero() || over.StoreID == own {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[replacement]time.Time{}
	}
	r.at[replacement{what, over.Dataset, over.StoreID}] = time.Now()
}
