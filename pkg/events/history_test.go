package events_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"github.com/nats-io/nats.go/jetstream"
)

// readWith reads the history of cities, and calls during once when the event of version at arrives. It returns the versions
// read and the error that ended the iteration.
func readWith(ctx context.Context, log *events.Log, at uint64, during func()) (got []uint64, err error) {
	for e, err := range log.History(ctx, "cities", 1) {
		if err != nil {
			return got, err
		}
		got = append(got, e.Record.Version)
		if e.Record.Version == at {
			during()
		}
	}
	return got, nil
}

// long is the length of a history that takes several fetches. middle is in the first of them.
const long, middle = 3*events.FetchSize + 20, 100

func TestHistoryEndsAtTheEndAsOfTheCall(t *testing.T) {
	ctx, _, nc, log := start(t)
	announce(t, ctx, log, "cities", upTo(long)...)
	announce(t, ctx, log, "prices", 1)
	got, err := readWith(ctx, log, middle, func() { announce(t, ctx, log, "cities", long+1, long+2) })
	if err != nil || !slices.Equal(got, upTo(long)) {
		t.Errorf("%d versions, %v", len(got), err)
	}
	before := time.Now()
	for e, err := range log.History(ctx, "cities", long) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Record.Version)
		if e.Sequence == 0 || e.Time.IsZero() || e.Time.After(before) {
			t.Errorf("version %d has sequence %d and time %v", e.Record.Version, e.Sequence, e.Time)
		}
	}
	if !slices.Equal(got[long:], []uint64{long, long + 1, long + 2}) {
		t.Errorf("from version %d on: %v", long, got[long:])
	}
	// No consumer is left, not even after a break.
	for range log.History(ctx, "cities", 1) {
		break
	}
	if n := stream(t, ctx, nc).CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}

func TestHistoryOfNothing(t *testing.T) {
	ctx, _, _, log := start(t)
	if _, err := readWith(ctx, log, 0, nil); !errors.Is(err, events.ErrNoStream) {
		t.Errorf("without a log: %v", err)
	}
	announce(t, ctx, log, "prices", 1)
	if got, err := readWith(ctx, log, 0, nil); err != nil || len(got) != 0 {
		t.Errorf("of a dataset without versions: %v, %v", got, err)
	}
	for _, err := range log.History(ctx, "*", 1) {
		if !errors.Is(err, dataset.ErrName) {
			t.Errorf("a wildcard for a name: %v", err)
		}
	}
}

func TestHistoryGoesOnAfterAnUnreadableEvent(t *testing.T) {
	ctx, _, nc, log := start(t)
	announce(t, ctx, log, "cities", 1)
	must(api(t, nc).Publish(ctx, "freshet.v1.versions.cities", []byte("garbage")))(t)
	announce(t, ctx, log, "cities", 2)
	var got []uint64
	unreadable := 0
	for e, err := range log.History(ctx, "cities", 1) {
		var bad *events.EventError
		switch {
		case errors.As(err, &bad):
			unreadable++
			if bad.Sequence != 2 || bad.Dataset != "cities" {
				t.Error(bad)
			}
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, e.Record.Version)
		}
	}
	if unreadable != 1 || !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("%d unreadable, then %v", unreadable, got)
	}
}

// Invariant: with any fault during the iteration, a history is complete or ends with an error.
func TestHistoryThroughFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		fault func(t *testing.T, f faults)
		err   error
		want  []uint64
	}{
		"server restarted": {func(_ *testing.T, f faults) { f.restart() }, nil, upTo(long)},
		"server killed":    {func(_ *testing.T, f faults) { f.kill() }, nil, upTo(long)},
		"consumer deleted": {func(t *testing.T, f faults) {
			for name := range f.stream.ConsumerNames(f.ctx).Name() {
				if err := f.stream.DeleteConsumer(f.ctx, name); err != nil {
					t.Fatal(err)
				}
			}
		}, nil, upTo(long)},
		"end deleted": {func(t *testing.T, f faults) {
			for v := uint64(long - 10); v <= long; v++ {
				if err := f.stream.DeleteMsg(f.ctx, v); err != nil {
					t.Fatal(err)
				}
			}
		}, nil, upTo(long - 11)},
		"stream deleted": {func(t *testing.T, f faults) {
			if err := f.js.DeleteStream(f.ctx, "FRESHET"); err != nil {
				t.Fatal(err)
			}
		}, events.ErrRecreated, nil},
		"stream created again": {func(t *testing.T, f faults) {
			if err := f.js.DeleteStream(f.ctx, "FRESHET"); err != nil {
				t.Fatal(err)
			}
			announce(t, f.ctx, f.log, "cities", upTo(3)...)
		}, events.ErrRecreated, nil},
		"longer stream created again": {func(t *testing.T, f faults) {
			if err := f.js.DeleteStream(f.ctx, "FRESHET"); err != nil {
				t.Fatal(err)
			}
			announce(t, f.ctx, f.log, "cities", upTo(long+10)...)
		}, events.ErrRecreated, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, s, nc, log := start(t)
			announce(t, ctx, log, "cities", upTo(long)...)
			f := faults{
				ctx: ctx, js: api(t, nc), stream: stream(t, ctx, nc), log: log,
				restart: s.Restart, kill: func() { s.Kill(); s.Start() },
			}
			got, err := readWith(ctx, log, middle, func() { tc.fault(t, f) })
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil {
				t.Errorf("the error is %v, want %v", err, tc.err)
			}
			if tc.err == nil && !slices.Equal(got, tc.want) {
				t.Errorf("%d versions, want %d in order: %v", len(got), len(tc.want), got)
			}
			// Up to the error there is no gap, either.
			if !slices.Equal(got, upTo(len(got))) {
				t.Errorf("a gap: %v", got)
			}
		})
	}
}

// faults has the server and the connections for a fault.
type faults struct {
	ctx           context.Context
	js            jetstream.JetStream
	stream        jetstream.Stream
	log           *events.Log
	restart, kill func()
}

func TestHistoryEndsWithItsContext(t *testing.T) {
	ctx, s, _, log := start(t)
	announce(t, ctx, log, "cities", upTo(long)...)
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	_, err := readWith(reading, log, middle, func() {
		s.Kill()
		cancel()
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
