package subscribe

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

// served is a version being served.
type served = refresh.Served[*table.Table]

// watcher tells the log, the fleet, the Observer and the callbacks what the supervised goroutine does. It never waits.
type watcher struct{ s *Subscriber }

func (w watcher) Swapped(_, now *served, changes *table.Changes) {
	s := w.s
	d := s.datasets[now.Record.Dataset]
	d.signal(now, changes) // first: a panic below must not keep the version from callbacks
	d.count(now)
	name, version, pull := now.Record.Dataset, now.Record.Version, pullOf(now)
	r := Refresh{
		Record: now.Record, ID: now.ID, From: origin(now), Records: now.Value.Len(), Bytes: now.Value.Bytes(),
		PulledBytes: pull.Bytes, Full: pull.Full, Deltas: pull.Deltas, GaveUp: now.Pull.GaveUp, Duration: now.Duration,
	}
	if r.GaveUp != nil {
		s.cfg.Log.Warn("deltas did not lead to a version, which was loaded from its snapshot instead", "dataset", name, "version", version,
			"error", r.GaveUp, "stack", guard.Stack(r.GaveUp))
	}
	s.cfg.Log.Info("serving a version", "dataset", name, "version", version, "from", r.From, "full", r.Full, "deltas", r.Deltas,
		"id", now.ID.String(), "records", r.Records, "bytes", r.Bytes, "pulled_bytes", r.PulledBytes, "duration", r.Duration, "created", now.Record.Created)
	s.report(fleet.Report{
		Kind: fleet.OfSwap, Dataset: name, Version: version, ID: now.ID, PulledBytes: pull.Bytes, Full: pull.Full, Deltas: pull.Deltas, GaveUp: pull.GaveUp,
		Created: now.Record.Created, Served: now.At, Duration: now.Duration,
	})
	if f := s.cfg.Observer.Swapped; f != nil {
		s.observe(name, version, func() { f(r) })
	}
}

func (w watcher) Failed(f refresh.Failure) {
	s, name, version := w.s, f.Record.Dataset, f.Record.Version
	args := []any{
		"dataset", name, "version", version, "error", f.Err, "attempt", f.Attempt, "duration", f.Duration, "stack", guard.Stack(f.Err),
	}
	if f.Retry.IsZero() {
		s.cfg.Log.Error("a refresh hangs; the version is tried again if it ever ends, and a newer one as soon as it comes", args...)
	} else {
		s.cfg.Log.Warn("a refresh failed and will be tried again", append(args, "retry_in", time.Until(f.Retry))...)
	}
	s.report(fleet.Report{
		Kind: fleet.OfFailure, Dataset: name, Version: version, Created: f.Record.Created, Duration: f.Duration,
		Error: f.Err.Error(), Stack: guard.Stack(f.Err),
	})
	if hook := s.cfg.Observer.Failed; hook != nil {
		s.observe(name, version, func() { hook(name, version, f.Err) })
	}
}

func (w watcher) Healed(rec dataset.VersionRecord) {
	w.s.cfg.Log.Warn("healed: a beacon named a version of which no event came", "dataset", rec.Dataset, "version", rec.Version)
	if f := w.s.cfg.Observer.Healed; f != nil {
		w.s.observe(rec.Dataset, rec.Version, func() { f(rec.Dataset, rec.Version) })
	}
}

func (w watcher) Foreign(name, warning string) {
	w.s.cfg.Log.Warn("messages or relays of another store are ignored", "dataset", name, "why", warning)
}

func (w watcher) StoreChanged(was, now dataset.StoreID) {
	w.s.cfg.Log.Warn("all relays read another store now, and this instance follows them", "was", was.String(), "now", now.String())
}

func (w watcher) Rejected(rec dataset.VersionRecord) {
	w.s.cfg.Log.Warn("an event names a version that cannot be loaded and that the store does not have; it is ignored", "dataset", rec.Dataset,
		"version", rec.Version, "id", rec.VersionID().String())
}

// Changed says every change of a state in one line, so that what the states were can be read from the log alone. What
// every refresh brings is left to the line on the swap.
func (w watcher) Changed(c refresh.Change) {
	level := slog.LevelWarn
	switch {
	case c.Usual:
		level = slog.LevelDebug
	case c.Now == fleet.Fresh, c.Now == fleet.Refreshing, c.Now == fleet.Waiting:
		level = slog.LevelInfo
	}
	w.s.cfg.Log.Log(context.Background(), level, "a dataset is in another state", "dataset", c.Dataset, "was", c.Was, "now", c.Now,
		"why", c.Why, "since", c.Since, "version", c.Version, "newest", c.Newest)
	r := fleet.Report{Kind: fleet.OfState, Dataset: c.Dataset, Version: c.Version, State: c.Now, Was: c.Was}
	if c.Now == fleet.Quarantined {
		r.Quarantined = w.s.engine.Health(c.Dataset).QuarantinedRef
	}
	w.s.report(r)
	if f := w.s.cfg.Observer.StateChanged; f != nil {
		w.s.observe(c.Dataset, c.Version, func() { f(c.Dataset, c.Was, c.Now, c.Since) })
	}
}

func (w watcher) StoredUnusable(name string, err error) {
	w.s.cfg.Log.Warn("the newest version in the cache folder cannot be served", "dataset", name, "error", err, "stack", guard.Stack(err))
	w.cacheFailed(name, err)
}

func (w watcher) Finished(name string, err error) {
	if err == nil {
		w.s.cfg.Log.Info("the cache folder can be written again", "dataset", name)
		return
	}
	w.s.cfg.Log.Warn("a version is served but could not be kept in the cache folder; a restart would begin with an older one or none",
		"dataset", name, "error", err, "stack", guard.Stack(err))
	w.cacheFailed(name, err)
}

// shortened is told of each try to rewrite the cached snapshot.
func (w watcher) shortened(name string, err error) {
	if err == nil {
		w.s.cfg.Log.Debug("the cached deltas were made part of a new cached snapshot", "dataset", name)
		return
	}
	w.s.cfg.Log.Warn("a snapshot could not be written to the cache folder; it will be tried again", "dataset", name,
		"error", err, "stack", guard.Stack(err))
	w.cacheFailed(name, err)
}

func (w watcher) cacheFailed(name string, err error) {
	if f := w.s.cfg.Observer.CacheFailed; f != nil {
		w.s.observe(name, 0, func() { f(name, err) })
	}
}

func (w watcher) CaughtUp(reason string, err error, retry time.Time) {
	if err != nil {
		w.s.cfg.Log.Warn("cannot catch up, trying again; what is served may be stale", "reason", reason, "error", err, "retry_in", max(0, time.Until(retry)),
			"stack", guard.Stack(err))
	} else {
		w.s.cfg.Log.Debug("caught up", "reason", reason)
	}
	if f := w.s.cfg.Observer.CaughtUp; f != nil {
		w.s.observe("", 0, func() { f(reason, err) })
	}
}

func (w watcher) Restarted(err error) {
	s := w.s
	err = fmt.Errorf("the refreshing goroutine panicked and is started again: %w", err)
	s.cfg.Log.Error("the refreshing goroutine panicked and is started again", "error", err, "stack", guard.Stack(err))
	for _, name := range s.cfg.Datasets { // it is not known at which
		s.reportFailure(name, s.engine.Health(name).Newest, err)
	}
	if f := s.cfg.Observer.Restarted; f != nil {
		s.observe("", 0, func() { f(err) })
	}
}

func origin(v *served) fleet.Origin {
	if v.Stored {
		return fleet.Cache
	}
	return fleet.Relay
}
