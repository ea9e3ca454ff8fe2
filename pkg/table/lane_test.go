package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
)

func narrowLane() *lane.Lane {
	return lane.New(lane.Config{Name: "cpu", Width: 1, Queue: 4, Wait: time.Minute})
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
		synctest.Test(t, func(t *testing.T) {
			l := narrowLane()
			relay := make(chan struct{})
			r, err := snapshot.NewReader(after(f.file, len(f.file)*3/4, func() (int, error) { <-relay; return 0, nil }))
			if err != nil {
				t.Fatal(err)
			}
			result := make(chan error)
			go func() { result <- f.read(r, Config{Workers: 2, Lane: l}) }()
			synctest.Wait()
			if s := l.Stats(); s.Own.Running != 0 || s.Own.Waiting != 0 {
				t.Errorf("%s reads with a place in the lane: %+v", what, s)
			}
			ran := false
			if err := l.Do(context.Background(), func(context.Context) error { ran = true; return nil }); err != nil || !ran {
				t.Errorf("%s: another function: %v, %v", what, ran, err)
			}
			close(relay)
			if err := <-result; err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

// A refresh that waits for the lane ends with its context.
func TestWaitForTheLaneEnds(t *testing.T) {
	m := numberedRecords(8000, 100)
	base, file := tableOf(t, m), severalBlocks(t)
	delta := deltaOf(t, testSeed, m, numberedRecords(100, 90))
	synctest.Test(t, func(t *testing.T) {
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
		synctest.Wait()
		if s := l.Stats(); s.Own.Waiting != 2+min(runtime.GOMAXPROCS(0), maxWorkers, 1) {
			t.Errorf("stats %+v", s)
		}
		cancel(why)
		for range 2 {
			if err := <-results; !errors.Is(err, why) {
				t.Errorf("got %v", err)
			}
		}
	})
}
