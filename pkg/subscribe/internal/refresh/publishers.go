package refresh

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// maxPublishers bounds how many publishers are tracked for one dataset.
const maxPublishers = 16

// publishers tracks by name what each publisher's beacons report of a dataset. It detects a publisher that keeps naming a
// version below one that was known before: the store lost versions, or the publisher reads another store.
type publishers map[string]*publisher

type publisher struct {
	version uint64
	id      dataset.VersionID // zero if unknown
	store   dataset.StoreID   // zero from a publisher of an earlier release
	at      time.Time         // when the last beacon arrived
	every   time.Duration     // the period of the beacons
	// floor is the newest version known when the publisher's last beacon arrived. The publisher reads the store again before
	// its next beacon, and must find at least that version.
	floor uint64
	below int       // consecutive beacons that named a version below floor
	since time.Time // when the first of them arrived
}

// active reports whether the publisher's next beacons are not overdue yet.
func (p *publisher) active(now time.Time) bool { return now.Sub(p.at) <= events.BlindAfter*p.every }

// conflictAfter is how many consecutive beacons must name a version below the floor to show that the publisher reads another
// copy of the store. A store that lists its versions late can explain one, but not two.
const conflictAfter = 2

// record stores the beacon w; newest is the newest version known. It returns how many consecutive beacons of the publisher
// named an older version.
func (p *publishers) record(w events.Report, newest uint64) (below int) {
	if *p == nil {
		*p = make(publishers)
	}
	maps.DeleteFunc(*p, func(_ string, one *publisher) bool { return !one.active(w.At) })
	one := (*p)[w.Publisher]
	if one == nil {
		if len(*p) == maxPublishers {
			return 0
		}
		one = new(publisher)
		(*p)[w.Publisher] = one
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

// conflict describes two publishers that read different copies of one store; empty if there are none. Two publishers conflict if
// they name a version with different ids, or if one keeps naming an older version than the other.
func (p publishers) conflict() string {
	names := slices.Sorted(maps.Keys(p))
	for i, first := range names {
		for _, second := range names[i+1:] {
			if text := p.conflictOf(first, second); text != "" {
				return text
			}
		}
	}
	return ""
}

func (p publishers) conflictOf(first, second string) string {
	a, b := p[first], p[second]
	if a.store.IsZero() || a.store != b.store {
		return ""
	}
	low, high := a, b
	if low.version > high.version {
		low, high = b, a
	}
	switch {
	case a.version == b.version && a.id != b.id && !a.id.IsZero() && !b.id.IsZero():
		return fmt.Sprintf("publishers %s and %s both read store %s and name version %d with different ids (%s, %s): "+
			"a copy of the store is in use; stop one of them", first, second, a.store, a.version, a.id.Short(), b.id.Short())
	case low.version < high.version && low.below >= conflictAfter && high.at.After(low.since):
		return fmt.Sprintf("publishers %s and %s both read store %s and name versions %s and %s as the newest: "+
			"a copy of the store is in use; stop one of them", first, second, a.store,
			dataset.Ref{Version: a.version, ID: a.id}, dataset.Ref{Version: b.version, ID: b.id})
	}
	return ""
}

// regressed describes a publisher that keeps naming versions below the served one; empty if there is none.
func (p publishers) regressed(served uint64) string {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if one := p[name]; one.below >= events.BlindAfter && one.version < served {
			return fmt.Sprintf("beacons of %s name version %d as the newest, below version %d, which is served: "+
				"the store has lost versions, or a publisher of another store uses the same NATS", name, one.version, served)
		}
	}
	return ""
}
