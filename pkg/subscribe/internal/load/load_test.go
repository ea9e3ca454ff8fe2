package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

// version returns a version with the given number of records, each with a random value of the given length.
func version(t *testing.T, number uint64, count, bytesEach int) (dataset.VersionRecord, []byte) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{byte(number)})
	var all []dataset.Record
	for i := range count {
		value := make([]byte, bytesEach)
		random.Read(value)
		all = append(all, dataset.Record{Key: fmt.Appendf(nil, "key%d", i), Value: value})
	}
	slices.SortFunc(all, func(a, b dataset.Record) int {
		if dataset.Hash(1, a.Key) < dataset.Hash(1, b.Key) {
			return -1
		}
		return 1
	})
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: 1, RawBytes: int64(count * (bytesEach + 16))})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	totals, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return dataset.VersionRecord{
		Dataset: "prices", Version: number, Seed: 1, State: totals.State, Created: time.Unix(1, 0),
		Snapshot: dataset.Object{Version: number, Digest: totals.Digest, Bytes: totals.FileBytes},
	}, file.Bytes()
}

// loader returns a loader with one relay, which always answers with file, and the number of requests to the relay.
func loader(t *testing.T, file []byte, more ...string) (*Loader, *atomic.Int64) {
	t.Helper()
	return loaderOf(t, func() []byte { return file }, more...)
}

// loaderOf is loader for a relay that answers with the result of file.
func loaderOf(t *testing.T, file func() []byte, more ...string) (*Loader, *atomic.Int64) {
	t.Helper()
	requests := new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Write(file())
	}))
	t.Cleanup(s.Close)
	c, err := pull.New(pull.Config{Relays: append([]string{s.URL}, more...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	d := cachedir.New(t.TempDir())
	t.Cleanup(func() { d.Close() })
	return &Loader{Pull: c, Cache: d}, requests
}

func nothing() {}

func TestLoadKeepsWhatItPulledAfterTheSwap(t *testing.T) {
	rec, file := version(t, 1, 100, 1000)
	l, requests := loader(t, file)
	steps := 0
	v, err := l.Load(t.Context(), rec, nil, func() { steps++ })
	if err != nil || v.Value.Version() != 1 || v.Value.State() != rec.State || v.Pull.Bytes != rec.Snapshot.Bytes || steps == 0 {
		t.Fatalf("got %+v after %d steps, %v", v, steps, err)
	}
	if _, err := l.Stored(t.Context(), "prices", nothing); !errors.Is(err, refresh.ErrNone) {
		t.Fatalf("before the swap the cache folder says %v, want ErrNone", err)
	}
	if err := v.Finish(true); err != nil {
		t.Fatal(err)
	}
	stored, err := l.Stored(t.Context(), "prices", nothing)
	if err != nil || stored.Value.State() != rec.State || stored.Record.ID() != rec.ID() || requests.Load() != 1 {
		t.Fatalf("the cache folder has %+v, %v", stored, err)
	}
}

func TestVersionThatIsNotSwappedIsNotKept(t *testing.T) {
	rec, file := version(t, 1, 10, 100)
	l, _ := loader(t, file)
	v, err := l.Load(t.Context(), rec, nil, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Finish(false); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Stored(t.Context(), "prices", nothing); !errors.Is(err, refresh.ErrNone) {
		t.Errorf("the cache folder says %v, want ErrNone", err)
	}
}

// Invariant: a load that fails leaves nothing, and does not affect the next.
func TestFailedLoadLeavesNothing(t *testing.T) {
	rec, file := version(t, 1, 100, 1000)
	for _, at := range []int{0, 9, 40, 100, len(file) / 2, len(file) - 1} {
		broken := bytes.Clone(file)
		broken[at] ^= 0x10
		var served atomic.Pointer[[]byte] // an answer to the first attempt may still be sent during the next
		served.Store(&broken)
		l, _ := loaderOf(t, func() []byte { return *served.Load() })
		root := t.TempDir()
		l.Cache = cachedir.New(root)
		if _, err := l.Load(t.Context(), rec, nil, nothing); err == nil {
			t.Fatalf("a flipped bit at byte %d was not refused", at)
		}
		left, _ := filepath.Glob(filepath.Join(root, "prices", "*"))
		if len(left) != 0 {
			t.Errorf("a flipped bit at byte %d left %q", at, left)
		}
		served.Store(&file)
		if _, err := l.Load(t.Context(), rec, nil, nothing); err != nil {
			t.Errorf("the next attempt failed: %v", err)
		}
		l.Cache.Close()
	}
}

func TestCancelledLoadEndsWithTheCause(t *testing.T) {
	rec, file := version(t, 1, 100, 1000)
	l, _ := loader(t, file)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("stalled")
	_, err := l.Load(ctx, rec, nil, func() { cancel(why) })
	if !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}

// An interrupted read proves nothing about the files: they stay.
func TestCancelledStartKeepsTheCache(t *testing.T) {
	rec, file := version(t, 1, 100, 1000)
	l, _ := loader(t, file)
	v, err := l.Load(t.Context(), rec, nil, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Finish(true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := l.Stored(ctx, "prices", cancel); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want Canceled", err)
	}
	if _, err := l.Stored(t.Context(), "prices", nothing); err != nil {
		t.Errorf("after a start that was cancelled: %v", err)
	}
}

func TestLoaderWithoutCache(t *testing.T) {
	rec, file := version(t, 1, 10, 10)
	l, _ := loader(t, file)
	l.Cache = nil
	if _, err := l.Stored(t.Context(), "prices", nothing); !errors.Is(err, refresh.ErrNone) {
		t.Errorf("Stored says %v, want ErrNone", err)
	}
	v, err := l.Load(t.Context(), rec, nil, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Finish(true); err != nil {
		t.Error(err)
	}
}

func TestReplacedLargeTableIsCollected(t *testing.T) {
	for _, tc := range []struct {
		name       string
		count, due int
	}{{"small", 2, 0}, {"large", 128, 1}} {
		t.Run(tc.name, func(t *testing.T) {
			rec, file := version(t, 1, tc.count, 1<<19)
			l, _ := loader(t, file)
			l.Cache, l.Collector = nil, NewCollector()
			first, err := l.Load(t.Context(), rec, nil, nothing)
			if err != nil {
				t.Fatal(err)
			}
			first.Finish(true)
			if n := len(l.Collector.due); n != tc.due {
				t.Errorf("%d collections are due after the first load of %d bytes, want %d", n, first.Value.Bytes(), tc.due)
			}
			for len(l.Collector.due) > 0 {
				<-l.Collector.due
			}
			rec.Version, rec.Snapshot.Version = 2, 2
			served := &refresh.Served[*table.Table]{Record: first.Record, Value: first.Value}
			second, err := l.Load(t.Context(), rec, served, nothing)
			if err != nil {
				t.Fatal(err)
			}
			second.Finish(true)
			if n := len(l.Collector.due); n != tc.due {
				t.Errorf("%d collections are due after a table of %d bytes was replaced, want %d", n, first.Value.Bytes(), tc.due)
			}
		})
	}
}

func TestStoredVersionWithAnotherStateIsDiscarded(t *testing.T) {
	rec, file := version(t, 1, 10, 100)
	l, _ := loader(t, file)
	v, err := l.Load(t.Context(), rec, nil, nothing)
	if err != nil {
		t.Fatal(err)
	}
	rec.State.Lo++
	if err := v.Finish(true); err != nil {
		t.Fatal(err)
	}
	draft := l.Cache.Draft("prices")
	if err := draft.Commit(rec); err != nil { // the same object under another record
		t.Fatal(err)
	}
	draft.Drop()
	if _, err := l.Stored(t.Context(), "prices", nothing); !errors.Is(err, ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
	if _, err := l.Stored(t.Context(), "prices", nothing); !errors.Is(err, refresh.ErrNone) {
		t.Errorf("after that: %v, want ErrNone", err)
	}
}
