package events_test

import (
	"slices"
	"testing"
	"time"

	"freshet.dev/pkg/events"
)

// BenchmarkAnnounceToReceived measures the time from the call of Announce to the version on the listener's channel.
func BenchmarkAnnounceToReceived(b *testing.B) {
	ctx, s, _, log := start(b)
	l, _ := listen(b, ctx, connect(b, s.URL), events.ListenerConfig{}, "cities")
	expectCatchUp(b, ctx, l, "start")
	if err := log.Ensure(ctx); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	var version uint64
	for b.Loop() {
		version++
		began := time.Now()
		announced := make(chan error, 1)
		go func() { announced <- log.Announce(ctx, record("cities", version)) }()
		if got := receive(b, ctx, "a version", l.Versions()); got.Version != version {
			b.Fatalf("received version %d, announced %d", got.Version, version)
		}
		took = append(took, time.Since(began))
		if err := <-announced; err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkLatest measures a catch-up of one dataset, and of as many as fit into one request.
func BenchmarkLatest(b *testing.B) {
	ctx, _, _, log := start(b)
	names := make([]string, events.BatchSubjects)
	for i := range names {
		names[i] = string([]byte{'a' + byte(i/26), 'a' + byte(i%26)})
		announce(b, ctx, log, names[i], 1)
	}
	for name, names := range map[string][]string{"1": names[:1], "512": names} {
		b.Run("datasets="+name, func(b *testing.B) {
			for b.Loop() {
				latest, err := log.Latest(ctx, names)
				if err != nil || len(latest) != len(names) {
					b.Fatalf("%d of %d datasets, %v", len(latest), len(names), err)
				}
			}
		})
	}
}
