package subscribe

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/redact"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// eventLog adapts the event log to [refresh.Log].
type eventLog struct {
	s   *Subscriber
	log *events.Log
}

// Latest leaves out datasets whose last event cannot be decoded, so that the relays are queried for them. Without a connection
// it fails at once and not after a timeout, so that the relays are queried soon.
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
			l.s.cfg.Log.Warn("the last event of a dataset cannot be decoded; the relays are queried instead", "dataset", e.Dataset, "error", one)
			continue
		}
		failed = append(failed, one)
	}
	if !unreadable {
		return known, err // it wraps several errors, but none is of an event
	}
	return known, oneline.Join(failed...)
}

// relayLog adapts the client of the relays to [refresh.Relays].
type relayLog struct{ relays *pull.Client }

func (r relayLog) Latest(ctx context.Context, name string, own dataset.StoreID) (answers []refresh.Answer, silent []string, err error) {
	all, silent, err := r.relays.LatestOfAll(ctx, name, own)
	if err != nil {
		return nil, silent, fmt.Errorf("query the relays: %w", err)
	}
	for _, a := range all {
		answers = append(answers, refresh.Answer{Relay: a.Relay, Store: a.Store, Record: a.Record})
	}
	return answers, silent, nil
}
