package load

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
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

// chain is a snapshot of version 1 and a delta to version 2, on a relay whose answers a test can change.
type chain struct {
	loader  *Loader
	objects map[string][]byte
	asked   atomic.Int64
	first   loaded // served
	rec     dataset.VersionRecord
	delta   []byte
}

func newChain(t *testing.T) *chain {
	t.Helper()
	rec, file := version(t, 1, 50, 100)
	c := &chain{objects: map[string][]byte{rec.Snapshot.Digest.String(): file}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c.asked.Add(1)
		object, ok := c.objects[strings.TrimPrefix(q.URL.Path, "/v1/objects/")]
		if !ok {
			http.NotFound(w, q)
			return
		}
		w.Write(object)
	}))
	t.Cleanup(s.Close)
	client, err := pull.New(pull.Config{Relays: []string{s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	c.loader = &Loader{Pull: client}
	if c.first, err = c.loader.Load(t.Context(), rec, nil, nothing); err != nil {
		t.Fatal(err)
	}

	was := dataset.Record{Key: []byte("key7")}
	was.Value, _ = c.first.Value.Get(was.Key)
	is := dataset.Record{Key: was.Key, Value: []byte("new")}
	c.rec = rec
	c.rec.Version = 2
	c.rec.State.Remove(1, dataset.AppendRecord(nil, was))
	c.rec.State.Add(1, dataset.AppendRecord(nil, is))
	var out bytes.Buffer
	w, err := snapshot.NewWriter(&out, snapshot.WriterConfig{Kind: snapshot.Delta, Seed: 1, Base: rec.State})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(is); err != nil {
		t.Fatal(err)
	}
	totals, err := w.CloseDelta(c.rec.State)
	if err != nil {
		t.Fatal(err)
	}
	c.delta = out.Bytes()
	c.rec.Deltas = []dataset.Object{{Version: 2, Digest: totals.Digest, Bytes: totals.FileBytes}}
	c.objects[totals.Digest.String()] = c.delta
	return c
}

func (c *chain) served() *refresh.Served[*table.Table] {
	return &refresh.Served[*table.Table]{Record: c.first.Record, Value: c.first.Value}
}

// Invariant: a delta with any flipped bit changes nothing, and the next undamaged answer is used.
func TestEveryFlippedBitOfADeltaIsRefused(t *testing.T) {
	c := newChain(t)
	digest := c.rec.Deltas[0].Digest.String()
	for bit := range len(c.delta) * 8 {
		broken := bytes.Clone(c.delta)
		broken[bit/8] ^= 1 << (bit % 8)
		c.objects[digest] = broken
		if _, err := c.loader.Load(t.Context(), c.rec, c.served(), nothing); err == nil {
			t.Fatalf("flipped bit %d was not refused", bit)
		}
		c.objects[digest] = c.delta
		v, err := c.loader.Load(t.Context(), c.rec, c.served(), nothing)
		if err != nil || v.Pull.Full || v.Value.State() != c.rec.State || v.Pull.Bytes != int64(len(c.delta)) {
			t.Fatalf("after bit %d: %+v, %v", bit, v.Pull, err)
		}
		if value, _ := v.Value.GetString("key7"); string(value) != "new" {
			t.Fatalf("after bit %d the record is %q", bit, value)
		}
	}
}

// Load pulls the fewer bytes; a version outside the chain is no base.
func TestChainOrSnapshot(t *testing.T) {
	object := func(v uint64, bytes int64) dataset.Object { return dataset.Object{Version: v, Bytes: bytes} }
	c := newChain(t)
	for _, tc := range []struct {
		from     uint64
		snapshot dataset.Object
		deltas   []int64 // bytes, up to version 9
		want     int     // deltas pulled; -1: a full load
	}{
		{8, object(9, 100), []int64{50}, 1},
		{7, object(9, 100), []int64{50, 49}, 2},
		{7, object(9, 100), []int64{50, 50}, -1},
		{7, object(8, 100), []int64{60, 60}, 2}, // the snapshot needs a delta too
		{7, object(9, 100), []int64{50}, -1},
		{9, object(9, 100), []int64{50}, -1},
	} {
		rec := dataset.VersionRecord{Version: 9, Seed: 1, Snapshot: tc.snapshot}
		for i, bytes := range tc.deltas {
			rec.Deltas = append(rec.Deltas, object(uint64(10-len(tc.deltas)+i), bytes))
		}
		s := c.served()
		s.Record.Version = tc.from
		deltas, ok := deltasFrom(s, rec)
		if ok != (tc.want >= 0) || ok && len(deltas) != tc.want {
			t.Errorf("from version %d with deltas of %v bytes: %v, %v", tc.from, tc.deltas, deltas, ok)
		}
		rec.Seed++
		if _, ok := deltasFrom(s, rec); ok {
			t.Error("there are deltas for another seed")
		}
	}
	if _, ok := deltasFrom(nil, c.rec); ok {
		t.Error("there are deltas without a served version")
	}
}

// Deltas extend the cached version; a new snapshot replaces a cached version that they do not extend.
func TestCacheGoesOnByDeltas(t *testing.T) {
	for name, cached := range map[string]bool{"the base is cached": true, "nothing is cached": false} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t)
			root := t.TempDir()
			c.loader.Cache = cachedir.New(root)
			defer c.loader.Cache.Close()
			c.loader.Shortener = NewShortener(c.loader.Cache)
			if cached {
				v, err := c.loader.Load(t.Context(), c.first.Record, nil, nothing)
				if err == nil {
					err = v.Finish(true)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			v, err := c.loader.Load(t.Context(), c.rec, c.served(), nothing)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Finish(true); err != nil {
				t.Fatal(err)
			}
			if !cached {
				name, due, ok := c.loader.Shortener.next(time.Now())
				if !ok || name != "prices" {
					t.Fatal("no snapshot is due")
				}
				if err := c.loader.Shortener.shorten(t.Context(), due); err != nil {
					t.Fatal(err)
				}
				runtime.KeepAlive(v.Value) // as the engine does
			}
			held, err := c.loader.Cache.Held("prices")
			if want := map[bool]int{true: 2, false: 1}[cached]; err != nil || len(held.Chain) != want {
				t.Fatalf("%d objects are cached, want %d; %v", len(held.Chain), want, err)
			}
			stored, err := c.loader.Stored(t.Context(), "prices", nothing)
			if err != nil || stored.Value.State() != c.rec.State || stored.Value.Version() != 2 || fmt.Sprint(stored.Record) != fmt.Sprint(c.rec) && cached {
				t.Fatalf("stored are %+v, %v", stored.Record, err)
			}
		})
	}
}

func TestMissingDeltaWithoutASnapshotThatHelps(t *testing.T) {
	c := newChain(t)
	delete(c.objects, c.rec.Deltas[0].Digest.String())
	asked := c.asked.Load()
	if _, err := c.loader.Load(t.Context(), c.rec, c.served(), nothing); !errors.Is(err, pull.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if n := c.asked.Load() - asked; n != 1 {
		t.Errorf("%d requests; the snapshot needs the same delta and must not be pulled", n)
	}
}
