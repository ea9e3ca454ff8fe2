// Package inflight tracks the versions that this process commits or announces.
package inflight

import (
	"context"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/wake"
)

// grace is how long after the start of its commit a version may stay unannounced before a beacon names it. Announcing takes
// far less. Beacons exist for what takes longer.
const grace = time.Second

// Versions is a set of versions from just before their commit until they are announced. Beacons wait for them: a beacon that
// overtakes the event of a version is harmless, but each instance would count a healed gap where there was none. The zero
// Versions is ready for use.
type Versions struct {
	mu   sync.Mutex
	byID map[string]*version // guarded by mu
}

// version is one version. Several publishes may try to commit the same number.
type version struct {
	dataset string
	number  uint64
	since   time.Time
	tries   int
	done    chan struct{} // closed when no try is left
}

// Begin adds rec, whose commit is about to begin.
func (v *Versions) Begin(rec dataset.VersionRecord) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byID == nil {
		v.byID = map[string]*version{}
	}
	one := v.byID[rec.ID()]
	if one == nil {
		one = &version{dataset: rec.Dataset, number: rec.Version, since: time.Now(), done: make(chan struct{})}
		v.byID[rec.ID()] = one
	}
	one.tries++
}

// End ends one Begin: rec is announced, or its publisher will not announce it.
func (v *Versions) End(rec dataset.VersionRecord) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if one := v.byID[rec.ID()]; one != nil {
		if one.tries--; one.tries == 0 {
			v.remove(one, rec.ID())
		}
	}
}

// remove removes one. The caller holds mu.
func (v *Versions) remove(one *version, id string) {
	delete(v.byID, id)
	close(one.done)
}

// first returns one version of the set that is among newest, and how long to wait for it at most. It returns nil if there is
// none. It removes versions that are older than grace: their publisher may have died of a panic.
func (v *Versions) first(newest map[string]dataset.Ref) (*version, time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, one := range v.byID {
		rest := grace - time.Since(one.since)
		if rest <= 0 {
			v.remove(one, id)
			continue
		}
		if one.number <= newest[one.dataset].Version {
			return one, rest
		}
	}
	return nil, 0
}

// Wait returns when no version among newest is in flight, or was for too long, or when ctx ends.
func (v *Versions) Wait(ctx context.Context, newest map[string]dataset.Ref) {
	for {
		one, rest := v.first(newest)
		if one == nil {
			return
		}
		if !wake.Wait(ctx, rest, one.done) {
			return
		}
	}
}
