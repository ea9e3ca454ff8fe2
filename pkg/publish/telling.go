package publish

import (
	"context"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
)

// tellGrace is how long a version may be on its way from its commit to the event log before a beacon names it all the
// same. It is far longer than that takes; what takes longer is what beacons are for.
const tellGrace = time.Second

// telling remembers the versions that this process is committing or announcing. A beacon waits for them: one that overtakes
// the event of the version it names does no harm, but every instance would count a healed gap where there is none.
type telling struct {
	mu    sync.Mutex
	under map[string]*underWay // by the version's id, guarded by mu
}

// underWay is a version from just before its commit until it is announced. Several publishes may try to commit the same.
type underWay struct {
	dataset string
	version uint64
	since   time.Time
	tries   int
	done    chan struct{} // closed when no try is left
}

func newTelling() telling { return telling{under: map[string]*underWay{}} }

// begin says that rec is about to be committed.
func (t *telling) begin(rec dataset.VersionRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.under[rec.ID()]
	if u == nil {
		u = &underWay{dataset: rec.Dataset, version: rec.Version, since: time.Now(), done: make(chan struct{})}
		t.under[rec.ID()] = u
	}
	u.tries++
}

// end says that rec is announced, or that it will not be by who began.
func (t *telling) end(rec dataset.VersionRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.under[rec.ID()]; u != nil {
		if u.tries--; u.tries == 0 {
			t.forget(u, rec.ID())
		}
	}
}

// forget takes out u. It wants mu held.
func (t *telling) forget(u *underWay, id string) {
	delete(t.under, id)
	close(u.done)
}

// first returns one of the versions that are under way and among newest, nil if there is none, and how long to wait for it
// at most. A version that is under way for too long is forgotten: whoever began may have died of a panic.
func (t *telling) first(newest map[string]dataset.Ref) (*underWay, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, u := range t.under {
		rest := tellGrace - time.Since(u.since)
		if rest <= 0 {
			t.forget(u, id)
			continue
		}
		if u.version <= newest[u.dataset].Version {
			return u, rest
		}
	}
	return nil, 0
}

// wait returns once none of the versions among newest is under way, or has been for too long, or ctx has ended.
func (t *telling) wait(ctx context.Context, newest map[string]dataset.Ref) {
	for {
		u, rest := t.first(newest)
		if u == nil {
			return
		}
		timer := time.NewTimer(rest)
		select {
		case <-u.done:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}
