package events_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/events"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// logLines collects the output of a logger. It is safe for concurrent use.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logLines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// fill fills the account with another stream.
func fill(t *testing.T, ctx context.Context, nc *nats.Conn) {
	t.Helper()
	must(api(t, nc).CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"x"}}))(t)
	refill(ctx, t, nc)
}

func refill(ctx context.Context, t *testing.T, nc *nats.Conn) {
	t.Helper()
	for _, size := range []int{100_000, 1000, 1} {
		for err := error(nil); err == nil; {
			_, err = api(t, nc).Publish(ctx, "x", make([]byte, size))
		}
	}
}

const (
	halved = "is full and keeps fewer events"
	grown  = "again keeps as many events of each dataset as before"
)

// Another stream that fills the account costs the log half of its history once, and only until there is space again.
func TestNeighbourThatFillsTheAccountCostsLittleHistory(t *testing.T) {
	lines := &logLines{}
	ctx, _, nc, log := startLimited(t, "max_file: 4MB", events.Config{Log: slog.New(slog.NewTextHandler(lines, nil))})
	keep := func() int64 { return stream(t, ctx, nc).CachedInfo().Config.MaxMsgsPerSubject }
	announce(t, ctx, log, "cities", upTo(100)...)
	before := keep()
	fill(t, ctx, nc)
	refused := 0
	for v := uint64(101); v <= 140; v++ {
		if err := log.Announce(ctx, large("cities", v)); errors.Is(err, events.ErrStream) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
		refill(ctx, t, nc)
	}
	if got := len(history(t, ctx, log, "cities")); refused == 0 || got < 40 {
		t.Errorf("%d announcements were refused, and the log has %d events", refused, got)
	}
	if got := keep(); got != 50 || lines.count(halved) != 1 || lines.count("from=10000 to=50") != 1 {
		t.Errorf("the log keeps %d events: %s", got, lines.text.String())
	}
	if err := log.Ensure(ctx); err != nil || keep() != 50 {
		t.Errorf("without free space the log keeps %d: %v", keep(), err)
	}
	if err := api(t, nc).DeleteStream(ctx, "OTHER"); err != nil {
		t.Fatal(err)
	}
	if err := log.Ensure(ctx); err != nil || keep() != before || lines.count(grown) != 1 {
		t.Errorf("with free space again the log keeps %d: %v", keep(), err)
	}
	announce(t, ctx, log, "cities", 141)
}

// A log that reached its own bound keeps as much as before again when the bound is grown.
func TestLogWithALargerBoundKeepsMoreAgain(t *testing.T) {
	ctx, _, nc, log := startLimited(t, "max_file: 1GB", events.Config{MaxBytes: 1 << 20})
	for v := range uint64(80) {
		if err := log.Announce(ctx, large("cities", v+1)); err != nil {
			t.Fatal(err)
		}
	}
	keep := func() int64 { return stream(t, ctx, nc).CachedInfo().Config.MaxMsgsPerSubject }
	fewer := keep()
	if err := log.Ensure(ctx); err != nil || fewer >= 80 || keep() != fewer {
		t.Errorf("the log keeps %d, then %d: %v", fewer, keep(), err)
	}
	if err := newLog(t, nc, events.Config{MaxBytes: 4 << 20}).Ensure(ctx); err != nil || keep() != 10_000 {
		t.Errorf("with a larger bound the log keeps %d: %v", keep(), err)
	}
}
