package subscribe

import (
	"time"

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
	s.wake(now, changes) // first: should anything below panic, callbacks have been told
	s.count(now)
	name, version, pull := now.Record.Dataset, now.Record.Version, pullOf(now)
	r := Refresh{
		Record: now.Record, From: origin(now), Records: now.Value.Len(), Bytes: now.Value.Bytes(),
		PulledBytes: pull.Bytes, Full: pull.Full, Deltas: pull.Deltas, GaveUp: now.Pull.GaveUp, Duration: now.Duration,
	}
	if r.GaveUp != nil {
		s.cfg.Log.Warn("deltas did not lead to a version, which was loaded from its snapshot instead", "dataset", name, "version", version,
			"error", r.GaveUp, "stack", guard.Stack(r.GaveUp))
	}
	s.cfg.Log.Info("serving a version", "dataset", name, "version", version, "from", r.From, "full", r.Full, "deltas", r.Deltas,
		"records", r.Records, "bytes", r.Bytes, "pulled_bytes", r.PulledBytes, "duration", r.Duration, "created", now.Record.Created)
	s.report(fleet.Report{
		Dataset: name, Version: version, PulledBytes: pull.Bytes, Full: pull.Full, Deltas: pull.Deltas, GaveUp: pull.GaveUp,
		Created: now.Record.Created, Served: now.At, Duration: now.Duration,
	})
	if f := s.cfg.Observer.Swapped; f != nil {
		s.observe(func() { f(r) })
	}
}

func (w watcher) Failed(f refresh.Failure) {
	s := w.s
	s.cfg.Log.Warn("a refresh failed and will be tried again", "dataset", f.Record.Dataset, "version", f.Record.Version, "error", f.Err,
		"attempt", f.Attempt, "duration", f.Duration, "retry_in", time.Until(f.Retry), "stack", guard.Stack(f.Err))
	s.report(fleet.Report{
		Dataset: f.Record.Dataset, Version: f.Record.Version, Created: f.Record.Created, Duration: f.Duration, Error: f.Err.Error(),
	})
	if hook := s.cfg.Observer.Failed; hook != nil {
		s.observe(func() { hook(f.Record.Dataset, f.Record.Version, f.Err) })
	}
}

func (w watcher) StoredUnusable(name string, err error) {
	w.s.cfg.Log.Warn("the version in the cache folder cannot be served", "dataset", name, "error", err, "stack", guard.Stack(err))
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
		w.s.observe(func() { f(name, err) })
	}
}

func (w watcher) CaughtUp(reason string, err error, retry time.Time) {
	if err != nil {
		w.s.cfg.Log.Warn("cannot catch up, trying again; what is served may be stale", "reason", reason, "error", err, "retry_in", time.Until(retry),
			"stack", guard.Stack(err))
	} else {
		w.s.cfg.Log.Debug("caught up", "reason", reason)
	}
	if f := w.s.cfg.Observer.CaughtUp; f != nil {
		w.s.observe(func() { f(reason, err) })
	}
}

func (w watcher) Restarted(err error) {
	w.s.cfg.Log.Error("the refreshing goroutine panicked and is started again", "error", err, "stack", guard.Stack(err))
	if f := w.s.cfg.Observer.Restarted; f != nil {
		w.s.observe(func() { f(err) })
	}
}

func origin(v *served) fleet.Origin {
	if v.Stored {
		return fleet.Cache
	}
	return fleet.Relay
}
