package subscribe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/redact"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// pendingReports is how many reports may wait to be sent. NATS buffers them while it is down; only a connection that
// takes nothing and does not break lets them pile up, and then the status says the same to whoever asks.
const pendingReports = 256

// backoff returns the pauses between attempts.
func (s *Subscriber) backoff() *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval: s.cfg.RetryInitial, MaxInterval: s.cfg.RetryMax, Multiplier: 2, RandomizationFactor: 0.5,
	}
	b.Reset()
	return b
}

// keep runs run, again whenever it fails or panics, until the subscriber is closed.
func (s *Subscriber) keep(what string, run func(context.Context) error) {
	pauses := s.backoff()
	for {
		began := time.Now()
		err := guard.Try(func() error { return run(s.ctx) })
		if s.ctx.Err() != nil {
			return
		}
		if time.Since(began) > s.cfg.RetryMax {
			pauses.Reset()
		}
		pause := pauses.NextBackOff()
		s.cfg.Log.Error("a part of the subscriber ended and is started again", "part", what, "error", err, "retry_in", pause, "stack", guard.Stack(err))
		if !pauseFor(s.ctx, pause, nil) {
			return
		}
	}
}

// pauseFor waits for d or for wake, and reports whether ctx has not ended.
func pauseFor(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// report queues r for sending.
func (s *Subscriber) report(r fleet.Report) {
	s.changed()
	r.Instance, r.Host, r.PID, r.Run, r.At = s.cfg.Instance, s.host, os.Getpid(), s.run, time.Now()
	select {
	case s.reports <- r:
	default:
		s.cfg.Log.Debug("too many reports wait to be sent; one is dropped", "dataset", r.Dataset, "version", r.Version)
	}
}

// reportFailure queues a report of what failed at the version.
func (s *Subscriber) reportFailure(name string, version uint64, err error) {
	s.report(fleet.Report{Kind: fleet.OfFailure, Dataset: name, Version: version, Error: err.Error(), Stack: guard.Stack(err)})
}

// sendReports sends what is queued. It has a goroutine of its own because the NATS client waits for its socket.
func (s *Subscriber) sendReports(ctx context.Context) error {
	for {
		select {
		case r := <-s.reports:
			if err := fleet.SendReport(s.nc.Conn, s.cfg.Namespace, r); err != nil {
				s.cfg.Log.Debug("a report is lost", "error", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// eventLog is the event log as a catch-up needs it.
type eventLog struct {
	s   *Subscriber
	log *events.Log
}

// Latest leaves out datasets whose last event is not readable, so that the relays are asked about them. Without a
// connection it fails at once instead of after a timeout: the relays may have something meanwhile.
func (l eventLog) Latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error) {
	if err := l.s.nc.down(); err != nil {
		return nil, err
	}
	known, err := l.latest(ctx, names)
	if err != nil {
		err = fmt.Errorf("NATS at %s: %w", redact.Text(l.s.nc.ConnectedUrl()), err)
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			err = fmt.Errorf("%w; enable JetStream there (nats-server -js)", err)
		}
	}
	return known, err
}

func (l eventLog) latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error) {
	known, err := l.log.Latest(ctx, names)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return known, err
	}
	var failed []error
	unreadable := false
	for _, one := range joined.Unwrap() {
		if e := (*events.EventError)(nil); errors.As(one, &e) {
			unreadable = true
			l.s.cfg.Log.Warn("the last event of a dataset is not readable; the relays are asked instead", "dataset", e.Dataset, "error", one)
			continue
		}
		failed = append(failed, one)
	}
	if !unreadable {
		return known, err // no list of events: an error that wraps several
	}
	return known, errors.Join(failed...)
}

// latest is the relays as a catch-up needs them.
type latest struct{ relays *pull.Client }

func (l latest) Latest(ctx context.Context, name string, own dataset.StoreID) (answers []refresh.Answer, silent []string, err error) {
	all, silent, err := l.relays.LatestOfAll(ctx, name, own)
	if err != nil {
		return nil, silent, fmt.Errorf("ask the relays: %w", err)
	}
	for _, a := range all {
		answers = append(answers, refresh.Answer{Relay: a.Relay, Store: a.Store, Record: a.Record})
	}
	return answers, silent, nil
}
