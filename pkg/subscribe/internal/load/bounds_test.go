package load

import (
	"errors"
	"testing"

	"freshet.dev/pkg/subscribe/internal/bounds"
	"freshet.dev/pkg/subscribe/internal/memory"
)

// A refusal pulls nothing and leaves nothing behind, for a snapshot, for deltas and for the version in the cache folder.
func TestRefusedVersionIsNotPulled(t *testing.T) {
	rec, file := version(t, 1, 100, 1000)
	rec.PayloadBytes = 100_000
	l, requests := loader(t, file)
	v, err := l.Load(t.Context(), rec, nil, nothing)
	if err != nil || v.Finish(true) != nil {
		t.Fatal(err)
	}
	room := int64(0)
	l.Bounds = bounds.New(bounds.Config{MinMemoryLeft: 1}, func() (memory.Room, error) { return memory.Room{Bytes: room, Limit: "a test"}, nil })
	if _, err := l.Stored(t.Context(), "prices", nothing); !errors.Is(err, bounds.ErrRefused) {
		t.Errorf("the cached version: %v", err)
	}
	next, _ := version(t, 2, 100, 1000)
	if _, err := l.Load(t.Context(), next, nil, nothing); !errors.Is(err, bounds.ErrRefused) || requests.Load() != 1 {
		t.Errorf("a snapshot: %v after %d requests", err, requests.Load())
	}
	if l.drafts["prices"] != 0 {
		t.Errorf("%d drafts are open", l.drafts["prices"])
	}
	// The files are still there.
	room = 1 << 30
	if v, err := l.Stored(t.Context(), "prices", nothing); err != nil || v.Value.Len() != 100 {
		t.Errorf("with memory: %+v, %v", v, err)
	}
	c := newChain(t)
	c.loader.Bounds = bounds.New(bounds.Config{MaxRecords: 1}, nil)
	served, before := c.served(), c.asked.Load()
	if _, err := c.loader.Load(t.Context(), c.rec, served, nothing); !errors.Is(err, bounds.ErrRefused) || c.asked.Load() != before {
		t.Errorf("deltas: %v after %d requests", err, c.asked.Load()-before)
	}
}

// A table that is larger than its record says is refused once it is loaded, and is not pulled again.
func TestTableLargerThanItsEstimate(t *testing.T) {
	rec, file := version(t, 1, 100, 1000)
	rec.StoreID[0] = 1
	l, requests := loader(t, file) // PayloadBytes is 0, so the estimate is far too small
	l.Bounds = bounds.New(bounds.Config{MaxBytes: 50_000}, nil)
	for range 2 {
		if _, err := l.Load(t.Context(), rec, nil, nothing); !errors.Is(err, bounds.ErrRefused) || requests.Load() != 1 {
			t.Errorf("%v after %d requests", err, requests.Load())
		}
	}
	l.Bounds = bounds.New(bounds.Config{MaxBytes: 500_000}, nil)
	if v, err := l.Load(t.Context(), rec, nil, nothing); err != nil || v.Finish(false) != nil {
		t.Error(err)
	}
}

// A replay since a version keeps the bounds, too: the table of the replay is made while the other is served.
func TestReplaySinceAVersionKeepsTheBounds(t *testing.T) {
	c := newChain(t)
	v, err := c.loader.Load(t.Context(), c.rec, c.served(), nothing)
	if err != nil || v.Finish(true) != nil {
		t.Fatal(err)
	}
	c.loader.Bounds = bounds.New(bounds.Config{MinMemoryLeft: 1}, func() (memory.Room, error) { return memory.Room{Limit: "a test"}, nil })
	now := &served{Record: v.Record, Value: v.Value}
	for _, from := range []uint64{0, 1} {
		before := c.asked.Load()
		if _, err := c.loader.Reload(t.Context(), now, from, nothing); !errors.Is(err, bounds.ErrRefused) || c.asked.Load() != before {
			t.Errorf("since version %d: %v after %d requests", from, err, c.asked.Load()-before)
		}
	}
}
