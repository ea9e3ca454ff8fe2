package refresh

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// maxClaims is how many publishers are told apart.
const maxClaims = 16

// claims are what each publisher says of a dataset, to notice one that says again and again that the newest version is
// below one that there was: the store has lost versions, or it is another store's publisher.
type claims map[string]*claim

type claim struct {
	version uint64
	id      dataset.VersionID // zero if it is not known
	store   dataset.StoreID   // zero from a publisher of an earlier release
	at      time.Time
	every   time.Duration
	// floor is the newest version that was known when the publisher's last beacon came. It has read the store for the next
	// one after that, and must have found as much.
	floor uint64
	below int       // how often in a row it has not
	since time.Time // of the first beacon of that row
}

// belowIsOther is how many beacons in a row must name an older version than was known before, so that their publisher reads
// another copy of the store. The first one proves it; a store that lists its versions late explains it.
const belowIsOther = 2

// take takes in a word, when newest is the newest version known, and returns how often in a row its publisher has named
// an older one.
func (c *claims) take(w events.Word, newest uint64) (below int) {
	if *c == nil {
		*c = make(claims)
	}
	for publisher, one := range *c {
		if w.At.Sub(one.at) > events.BlindAfter*one.every {
			delete(*c, publisher) // it is gone
		}
	}
	one := (*c)[w.Publisher]
	if one == nil {
		if len(*c) == maxClaims {
			return 0
		}
		one = new(claim)
		(*c)[w.Publisher] = one
	}
	if w.Version < one.floor {
		if one.below == 0 {
			one.since = w.At
		}
		one.below++
	} else {
		one.below = 0
	}
	one.version, one.id, one.store = w.Version, w.ID, w.Store
	one.at, one.every, one.floor = w.At, w.Every, max(newest, w.Version)
	return one.below
}

// conflict says which two publishers read different copies of one store; empty if none do. They name a version with different
// ids, or one of them goes on to name an older version than the other.
func (c claims) conflict() string {
	publishers := slices.Sorted(maps.Keys(c))
	for i, p := range publishers {
		for _, q := range publishers[i+1:] {
			a, b := c[p], c[q]
			if a.store.IsZero() || a.store != b.store {
				continue
			}
			low, high := a, b
			if low.version > high.version {
				low, high = b, a
			}
			switch {
			case a.version == b.version && a.id != b.id && !a.id.IsZero() && !b.id.IsZero():
				return fmt.Sprintf("publishers %s and %s both read store %s and name version %d with different ids (%s, %s): a copy of the store is in use; stop one of them",
					p, q, a.store, a.version, a.id.Short(), b.id.Short())
			case low.version < high.version && low.below >= belowIsOther && high.at.After(low.since):
				return fmt.Sprintf("publishers %s and %s both read store %s and name versions %s and %s as the newest: a copy of the store is in use; stop one of them",
					p, q, a.store, dataset.Ref{Version: a.version, ID: a.id}, dataset.Ref{Version: b.version, ID: b.id})
			}
		}
	}
	return ""
}

// regressed says which publisher names versions below the served one; empty if none does.
func (c claims) regressed(served uint64) string {
	for _, publisher := range slices.Sorted(maps.Keys(c)) {
		if one := c[publisher]; one.below >= events.BlindAfter && one.version < served {
			return fmt.Sprintf("beacons of %s name version %d as the newest, below version %d, which is served: "+
				"the store has lost versions, or this is another store's publisher on the same NATS", publisher, one.version, served)
		}
	}
	return ""
}
