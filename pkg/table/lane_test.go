package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
)

func narrowLane() *lane.Lane {
	return lane.New(lane.Config{Name: "cpu", Width: 1, Queue: 4, Wait: time.Minute})
}

// settles waits until the statistics of the lane are as wanted. The tests do not run in bubbles of synctest: a zstd decoder that a bubble
// has made would stay in the pool of package snapshot, and crash the process outside of the bubble.
func settles(t *testing.T, l *lane.Lane, want func(lane.WorkStats) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !want(l.Stats().Own); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("the lane does not settle: %+v", l.Stats())
		}
	}
}

// Load and Apply work in the lane of their Config, with the same result, and leave it.
func TestWorkIsInTheLane(t *testing.T) {
	m := numberedRecords(12_000, 100)
	changes := make(map[string][]byte)
	for i := range 2000 {
		changes[fmt.Sprintf("key-%d", i)] = fmt.Appendf(nil, "changed %d", i)
	}
	l := narrowLane()
	cfg := Config{Workers: 4, Lane: l}
	base, err := load(t, snapshotOf(t, testSeed, m, 0), cfg)
	if err != nil {
		t.Fatal(err)
	}
	check(t, base, testSeed, m)
	loaded := l.Stats()
	if loaded.Own.Run.Count == 0 || loaded.Own.Running != 0 || loaded.Own.Waiting != 0 {
		t.Errorf("after Load: %+v", loaded)
	}
	next, _, err := apply(t.Context(), base, deltaOf(t, testSeed, m, changes), cfg)
	if err != nil {
		t.Fatal(err)
	}
	check(t, next, testSeed, changedBy(m, changes))
	if s := l.Stats(); s.Own.Run.Count <= loaded.Own.Run.Count || s.Own.Running != 0 || s.Own.Waiting != 0 {
		t.Errorf("after Apply: %+v", s)
	}
}

// A read that blocks, as that of a slow relay does, has no place in the lane.
func TestReadsAreOutsideTheLane(t *testing.T) {
	m := numberedRecords(8000, 100)
	snapshotFile, deltaFile := severalBlocks(t), deltaOf(t, testSeed, m, numberedRecords(4000, 90))
	base := tableOf(t, m)
	for what, f := range map[string]struct {
		file []byte
		read func(*snapshot.Reader, Config) error
	}{
		"Load": {snapshotFile, func(r *snapshot.Reader, cfg Config) error {
			_, err := Load(t.Context(), r, cfg)
			return err
		}},
		"Apply": {deltaFile, func(r *snapshot.Reader, cfg Config) error {
			_, _, err := Apply(t.Context(), base, r, cfg)
			return err
		}},
	} {
		l := narrowLane()
		relay, blocked := make(chan struct{}), make(chan struct{})
		block := sync.OnceFunc(func() { close(blocked); <-relay })
		r, err := snapshot.NewReader(after(f.file, len(f.file)*3/4, func() (int, error) { block(); return 0, nil }))
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan error)
		go func() { result <- f.read(r, Config{Workers: 2, Lane: l}) }()
		<-blocked
		settles(t, l, func(s lane.WorkStats) bool { return s.Running == 0 && s.Waiting == 0 })
		ran := false
		if err := l.Do(context.Background(), func(context.Context) error { ran = true; return nil }); err != nil || !ran {
			t.Errorf("%s: another function: %v, %v", what, ran, err)
		}
		close(relay)
		if err := <-result; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A refresh that waits for the lane ends with its context.
func TestWaitForTheLaneEnds(t *testing.T) {
	m := numberedRecords(8000, 100)
	base, file := tableOf(t, m), severalBlocks(t)
	delta := deltaOf(t, testSeed, m, numberedRecords(100, 90))
	l := narrowLane()
	_, leave, err := l.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	why := errors.New("a newer version came")
	ctx, cancel := context.WithCancelCause(t.Context())
	results := make(chan error, 2)
	go func() {
		r, err := snapshot.NewReader(bytes.NewReader(file))
		if err == nil {
			_, err = Load(ctx, r, Config{Lane: l, Workers: 2})
		}
		results <- err
	}()
	go func() {
		_, _, err := apply(ctx, base, delta, Config{Lane: l})
		results <- err
	}()
	settles(t, l, func(s lane.WorkStats) bool { return s.Waiting == 2+min(runtime.GOMAXPROCS(0), maxWorkers, 1) })
	cancel(why)
	for range 2 {
		if err := <-results; !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	}
}
