package follow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/wake"
)

const (
	// firstRetry and maxRetry bound the pause after a repair that failed. It doubles from one to the other.
	firstRetry = 100 * time.Millisecond
	maxRetry   = 30 * time.Second
)

// Repairer repairs the followers in the background: when it starts, when Look shows that they are behind, and after a failure until
// it succeeds. Several processes may run one for the same store.
type Repairer struct {
	followers *Followers
	done      func(Repair)
	wake      wake.Signal

	mu   sync.Mutex
	look map[string]dataset.Ref // the newest versions, not compared yet; guarded by mu

	failing map[subject]string // the kind of failure; used by Run alone
}

// subject is what a Repair was of.
type subject struct{ what, dataset string }

// NewRepairer returns a Repairer of f. It calls done for each repair and each failure; done should return soon.
func NewRepairer(f *Followers, done func(Repair)) *Repairer {
	return &Repairer{followers: f, done: done, wake: wake.New(), failing: map[subject]string{}}
}

// Look makes Run compare the followers with newest, the newest versions in the store. It never blocks.
func (r *Repairer) Look(newest map[string]dataset.Ref) {
	r.mu.Lock()
	r.look = newest
	r.mu.Unlock()
	r.wake.Set()
}

// takeLook returns the versions of the last Look, nil if there was none since the call before.
func (r *Repairer) takeLook() map[string]dataset.Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := r.look
	r.look = nil
	return newest
}

// Wake ends the pause after a failure. It never blocks.
func (r *Repairer) Wake() { r.wake.Set() }

// Run repairs until ctx ends, and then returns nil. It logs repairs, and failures when they begin and when they end. A panic is such
// a failure too.
func (r *Repairer) Run(ctx context.Context) error {
	pauses := backoff.New(firstRetry, maxRetry)
	for {
		pause := wake.Forever
		if r.round(ctx, r.takeLook()) {
			pauses.Reset()
		} else {
			pause = pauses.Next()
		}
		if !wake.Wait(ctx, pause, r.wake) {
			return nil
		}
	}
}

// round repairs once, and reports whether nothing is left to do. It reads the store if newest is nil.
func (r *Repairer) round(ctx context.Context, newest map[string]dataset.Ref) (complete bool) {
	var repairs []Repair
	var err error
	panicked := guard.Try(func() error {
		if newest == nil {
			newest, _, err = r.followers.Newest(ctx) // a beacon reports the datasets that cannot be read
		}
		if err == nil {
			repairs = r.followers.Repair(ctx, newest)
		}
		return nil
	})
	if ctx.Err() != nil {
		return false
	}
	switch {
	case panicked != nil:
		repairs = []Repair{{Err: fmt.Errorf("repair: %w", panicked)}}
	case err != nil:
		repairs = []Repair{{Err: err}}
	}
	complete = true
	for _, one := range repairs {
		complete = complete && one.Err == nil
		r.done(one)
	}
	r.log(ctx, repairs)
	return complete
}

// log logs what was repaired, and what fails in another way than before.
func (r *Repairer) log(ctx context.Context, repairs []Repair) {
	log := r.followers.log
	now := map[subject]string{}
	unqueried := map[string]bool{} // by What: followers that could not be queried
	for _, one := range repairs {
		switch {
		case one.Replaced.Version > 0:
			log.WarnContext(ctx, "replaced a version that is not in the store's history: the store was restored from an older copy or created again",
				"what", one.What, "dataset", one.Dataset, "replaced", one.Replaced.String(), "version", one.To)
		case one.To > 0:
			log.InfoContext(ctx, "completed what was missing", "what", one.What, "dataset", one.Dataset, "from", one.From, "to", one.To)
		}
		if one.Err == nil {
			continue
		}
		at := subject{one.What, one.Dataset}
		now[at] = kind(one.Err)
		if one.Dataset == "" {
			unqueried[one.What] = true
		}
		if r.failing[at] == now[at] {
			continue
		}
		log.ErrorContext(ctx, "the event log or the catalog cannot be completed; retrying", "what", one.What, "dataset", one.Dataset, "error", one.Err.Error())
	}
	for at, why := range maps.All(r.failing) {
		if _, still := now[at]; still {
			continue
		}
		if at.dataset != "" && (unqueried[at.what] || unqueried[""]) {
			now[at] = why
			continue
		}
		log.InfoContext(ctx, "the event log or the catalog can be completed again", "what", at.what, "dataset", at.dataset)
	}
	r.failing = now
}

// kind returns the same text for failures that need the same remedy.
func kind(err error) string {
	for _, e := range []error{events.ErrConflict, catalog.ErrConflict, events.ErrStream} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return "other"
}
