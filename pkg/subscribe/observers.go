package subscribe

import (
	"fmt"

	"freshet.dev/pkg/internal/guard"
)

// observers returns the Observer that passes events to all parts of the subscriber and to the caller's Observer. Callbacks come
// first, so that a panic in another observer does not keep a version from them.
func (s *Subscriber) observers() Observer {
	return TeeObserver(s.callbacksObserver(), s.sumsObserver(), logObserver(s.cfg.Log), s.reportObserver(), guardedObserver(s.cfg.Observer, s.observerPanicked))
}

// callbacksObserver signals new versions to callbacks and followers.
func (s *Subscriber) callbacksObserver() Observer {
	return Observer{Swapped: func(e Refresh) { s.datasets[e.Record.Dataset].signal(e.swap) }}
}

// sumsObserver counts refreshes for the status.
func (s *Subscriber) sumsObserver() Observer {
	return Observer{Swapped: func(e Refresh) { s.datasets[e.Record.Dataset].count(e) }}
}

// guardedObserver returns an Observer that calls the functions of o, and panicked if one panics.
func guardedObserver(o Observer, panicked func(event, error)) Observer {
	return Observer{
		Swapped:        guarded(withoutSwap(o.Swapped), panicked),
		Failed:         guarded(o.Failed, panicked),
		StateChanged:   guarded(o.StateChanged, panicked),
		CaughtUp:       guarded(o.CaughtUp, panicked),
		Healed:         guarded(o.Healed, panicked),
		Rejected:       guarded(o.Rejected, panicked),
		OtherStore:     guarded(o.OtherStore, panicked),
		StoreChanged:   guarded(o.StoreChanged, panicked),
		RelayRefused:   guarded(o.RelayRefused, panicked),
		CacheFailed:    guarded(o.CacheFailed, panicked),
		CacheWritten:   guarded(o.CacheWritten, panicked),
		CallbackFailed: guarded(o.CallbackFailed, panicked),
		DecodeFailed:   guarded(o.DecodeFailed, panicked),
		Restarted:      guarded(o.Restarted, panicked),
	}
}

// withoutSwap returns f without access to the tables of a swap: a caller that keeps events must not keep tables.
func withoutSwap(f func(Refresh)) func(Refresh) {
	if f == nil {
		return nil
	}
	return func(e Refresh) { e.swap = nil; f(e) }
}

// guarded returns a function that calls f, and panicked if f panics; nil if f is.
func guarded[E event](f func(E), panicked func(event, error)) func(E) {
	if f == nil {
		return nil
	}
	return func(e E) {
		if err := guard.Try(func() error { f(e); return nil }); err != nil {
			panicked(e, err)
		}
	}
}

// observerPanicked logs and reports a panic of the caller's Observer at an event.
func (s *Subscriber) observerPanicked(e event, err error) {
	name, version := e.about()
	err = fmt.Errorf("a function of the Observer panicked: %w", err)
	s.cfg.Log.Error("a function of the Observer panicked", "dataset", name, "version", version, "error", err, "stack", guard.Stack(err))
	names := []string{name}
	if name == "" {
		names = s.cfg.Datasets
	}
	for _, name := range names {
		s.reportFailure(name, version, err)
	}
}
