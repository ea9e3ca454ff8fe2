package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"github.com/cenkalti/backoff/v5"
	"github.com/sourcegraph/conc/panics"
)

const (
	// firstRepairRetry and lastRepairRetry bound the pause after a repair that failed. It doubles from one to the other.
	firstRepairRetry = 100 * time.Millisecond
	lastRepairRetry  = 30 * time.Second
)

// Repairer repairs the event log and the catalog ([Publisher.Repair]) in the background: when it starts, whenever a look
// at the store shows that they are behind, and after a failure again and again. One process beside each store should run
// one; several do no harm.
type Repairer struct {
	publisher *Publisher
	done      func(Repair)
	looks     chan map[string]dataset.Ref // holds one: the newest versions, not looked at yet
	soon      chan struct{}               // holds one: that no pause is to be made

	failing map[repairOf]string // how, as far as it matters. Used by Run alone
}

// repairOf is what a Repair was of.
type repairOf struct{ what, dataset string }

// NewRepairer returns a Repairer of what p works with. Done, if not nil, is called for each repair and each failure of one;
// it should return soon. It does nothing until Run.
func NewRepairer(p *Publisher, done func(Repair)) *Repairer {
	if done == nil {
		done = func(Repair) {}
	}
	return &Repairer{
		publisher: p, done: done, looks: make(chan map[string]dataset.Ref, 1), soon: make(chan struct{}, 1), failing: map[repairOf]string{},
	}
}

// Look has the event log and the catalog compared with newest, which are the newest versions in the store just now. A
// [Beacon] calls it with what it has read. It never blocks.
func (r *Repairer) Look(newest map[string]dataset.Ref) {
	for {
		select {
		case r.looks <- newest:
			return
		default:
		}
		select { // an older look, which nobody needs any more
		case <-r.looks:
		default:
		}
	}
}

// Soon ends the pause after a failure. Call it when a connection is back. It never blocks.
func (r *Repairer) Soon() {
	select {
	case r.soon <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, and then returns nil. It logs what it repairs, and what fails when it begins to fail and when
// that is over. A panic is such a failure too.
func (r *Repairer) Run(ctx context.Context) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval, wait.Multiplier = firstRepairRetry, lastRepairRetry, 2
	var newest map[string]dataset.Ref
	for {
		complete := r.round(ctx, newest)
		if ctx.Err() != nil {
			return nil
		}
		var pause <-chan time.Time
		if !complete {
			pause = time.After(wait.NextBackOff())
		} else {
			wait.Reset()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-pause:
			newest = nil // what was read then is old by now
		case <-r.soon:
			newest = nil
		case newest = <-r.looks:
		}
	}
}

// round repairs once, and reports whether nothing is left to be done.
func (r *Repairer) round(ctx context.Context, newest map[string]dataset.Ref) (complete bool) {
	var repairs []Repair
	var err error
	panicked := panics.Try(func() {
		if newest == nil {
			newest, _, err = r.publisher.deps.Store.Newest(ctx) // a beacon says which cannot be read
		}
		if err == nil {
			repairs = r.publisher.repair(ctx, newest)
		}
	}).AsError()
	if ctx.Err() != nil {
		return false
	}
	switch {
	case panicked != nil:
		repairs = []Repair{{Err: fmt.Errorf("repair: %w", panicked)}}
	case err != nil:
		repairs = []Repair{{Err: fmt.Errorf("list the datasets for a repair: %w", err)}}
	}
	complete = true
	for _, one := range repairs {
		complete = complete && one.Err == nil
		r.done(one)
	}
	r.log(ctx, repairs)
	return complete
}

// log tells what was repaired, and what fails otherwise than before.
func (r *Repairer) log(ctx context.Context, repairs []Repair) {
	log := r.publisher.cfg.Log
	now := map[repairOf]string{}
	unknown := map[string]bool{} // by What, of what there is no news
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
		at := repairOf{one.What, one.Dataset}
		now[at] = kind(one.Err)
		if one.Dataset == "" {
			unknown[one.What] = true
		}
		if r.failing[at] == now[at] {
			continue
		}
		log.ErrorContext(ctx, "the event log or the catalog cannot be completed; it is tried again", "what", one.What, "dataset", one.Dataset, "error", one.Err.Error())
	}
	for at, why := range maps.All(r.failing) {
		if _, still := now[at]; still {
			continue
		}
		if at.dataset != "" && (unknown[at.what] || unknown[""]) {
			now[at] = why
			continue
		}
		log.InfoContext(ctx, "the event log or the catalog can be completed again", "what", at.what, "dataset", at.dataset)
	}
	r.failing = now
}

// kind tells failures apart that want different things to be done.
func kind(err error) string {
	for _, e := range []error{events.ErrConflict, catalog.ErrConflict, events.ErrStream} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return "other"
}
