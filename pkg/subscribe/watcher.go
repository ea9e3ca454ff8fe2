package subscribe

import (
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

// served is a version that is served.
type served = refresh.Served[*table.Table]

// watcher turns the calls of the engine and of its loader into events, and never waits.
type watcher struct{ s *Subscriber }

func (w watcher) Swapped(_, now *served, changes *table.Changes) {
	w.s.datasets[now.Record.Dataset].swapped.Wake()
	pull := now.Pull
	e := Refresh{
		Record: now.Record, ID: now.ID, From: origin(now),
		PulledBytes: pull.Bytes, Full: pull.Full, Deltas: pull.Deltas, Fallback: pull.Fallback, At: now.At, Duration: now.Duration,
	}
	if !now.NoValue {
		w.s.leaveProcessor()
		e.Records, e.Bytes = now.Value.Len(), now.Value.Bytes()
	}
	if !now.NoValue && now.Kept == nil { // otherwise the table stays
		e.swap = &pendingSwap{to: now, changes: changes, bytes: pull.Bytes}
	}
	w.s.events.Swapped(e)
}

func (w watcher) Replayed(r refresh.Replay, before, now *served, changes *table.Changes) {
	swap := &pendingSwap{to: now, replayed: true, changes: changes}
	if changes != nil {
		swap.since = changes.Old()
		for _, o := range now.Record.DeltasFrom(r.From) {
			swap.bytes += o.Bytes
		}
	}
	w.s.replays.signal(r.ID, w.s.datasets[r.Dataset], swap)
	if now == before {
		return
	}
	pull := now.Pull
	w.s.events.Swapped(Refresh{
		Record: now.Record, ID: now.ID, From: origin(now), Records: now.Value.Len(), Bytes: now.Value.Bytes(),
		PulledBytes: pull.Bytes, Full: pull.Full, Deltas: pull.Deltas, At: now.At, Duration: now.Duration, Replayed: true,
	})
}

func (w watcher) Failed(f refresh.Failure) {
	e := Failure{Record: f.Record, Err: f.Err, Attempt: f.Attempt, Duration: f.Duration, Retry: f.Retry}
	e.Bound, e.Repeated = refusedBy(f.Err)
	w.s.events.Failed(e)
}

func (w watcher) Changed(c refresh.Change) {
	e := StateChange{
		Dataset: c.Dataset, Was: c.Was, Now: c.Now, Since: c.Since, Why: c.Why, Version: c.Version, Newest: c.Newest, Usual: c.Usual,
	}
	if c.Now == fleet.Quarantined {
		e.Quarantined = w.s.engine.Health(c.Dataset).QuarantinedRef
	}
	w.s.events.StateChanged(e)
}

func (w watcher) CaughtUp(reason string, err error, retry time.Time) {
	w.s.events.CaughtUp(CatchUp{Reason: reason, Err: err, Retry: retry})
}

func (w watcher) Healed(rec dataset.VersionRecord) { w.s.events.Healed(Healing{rec}) }

func (w watcher) Rejected(rec dataset.VersionRecord) { w.s.events.Rejected(Rejection{rec}) }

func (w watcher) OtherStore(name, warning string) { w.s.events.OtherStore(StoreWarning{name, warning}) }

func (w watcher) StoreChanged(was, now dataset.StoreID) {
	w.s.events.StoreChanged(StoreChange{was, now})
}

func (w watcher) StoredUnusable(name string, err error) { w.cacheFailed(name, CacheLoad, err) }

func (w watcher) Finished(name string, err error) { w.cacheWrote(name, CacheStore, err) }

func (w watcher) Restarted(err error) {
	w.s.events.Restarted(Restart{fmt.Errorf("the refreshing goroutine panicked and is started again: %w", err)})
}

// refused is called when a relay sent wrong bytes.
func (w watcher) refused(r pull.Refusal) {
	w.s.events.RelayRefused(RelayRefusal{Relay: r.Relay, Object: r.Object, Err: r.Err})
}

// shortened is called after each attempt to rewrite a cached snapshot.
func (w watcher) shortened(name string, err error) { w.cacheWrote(name, CacheShorten, err) }

// unconfirmed is called when a version could not be confirmed.
func (w watcher) unconfirmed(name string, err error) { w.cacheFailed(name, CacheConfirm, err) }

func (w watcher) cacheWrote(name string, operation CacheOperation, err error) {
	if err != nil {
		w.cacheFailed(name, operation, err)
		return
	}
	w.s.events.CacheWritten(CacheWrite{name, operation})
}

func (w watcher) cacheFailed(name string, operation CacheOperation, err error) {
	w.s.events.CacheFailed(CacheFailure{name, operation, err})
}

func origin(v *served) fleet.Origin {
	if v.Stored {
		return fleet.Cache
	}
	return fleet.Relay
}
