package relay_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay"
)

// slowCatalog answers when its context ends, or at once if it has an answer.
type slowCatalog struct {
	calls atomic.Int64
	err   error
	rec   dataset.VersionRecord
}

func (c *slowCatalog) Latest(ctx context.Context, _ string) (dataset.VersionRecord, error) {
	c.calls.Add(1)
	if c.err != nil || c.rec.Version > 0 {
		return c.rec, c.err
	}
	<-ctx.Done()
	return dataset.VersionRecord{}, ctx.Err()
}

func TestLatest(t *testing.T) {
	inStore := newMemory()
	inStore.latest["cities"] = record("cities", 7)
	for name, c := range map[string]struct {
		catalog relay.Catalog
		from    string
		version uint64
	}{
		"catalog":            {&slowCatalog{rec: inStore.latest["cities"]}, "catalog", 7},
		"catalog is behind":  {&slowCatalog{rec: record("cities", 6)}, "store", 7},
		"catalog is ahead":   {&slowCatalog{rec: record("cities", 8)}, "store", 7},
		"no catalog":         {nil, "store", 7},
		"not in the catalog": {&slowCatalog{err: catalog.ErrNotFound}, "store", 7},
		"too long for it":    {&slowCatalog{err: catalog.ErrTrimmed}, "store", 7},
		"catalog corrupt":    {&slowCatalog{err: catalog.ErrCorrupt}, "store", 7},
		"catalog broken":     {&slowCatalog{err: errors.New("connection refused")}, "store", 7},
	} {
		t.Run(name, func(t *testing.T) {
			h := newRelay(t, inStore, c.catalog).Handler()
			if res := do(t, h, "GET", "/v1/datasets/cities/latest"); res.Header.Get("Freshet-From") != "store" || res.Header.Get("Freshet-Store") != testStore.String() {
				t.Errorf("the first answer: %v", res.Header)
			}
			res := do(t, h, "GET", "/v1/datasets/cities/latest")
			rec, err := dataset.DecodeVersionRecord(body(t, res))
			if err != nil || rec.Version != c.version || res.Header.Get("Freshet-From") != c.from || res.Header.Get("Cache-Control") != "no-store" ||
				res.Header.Get("Freshet-Store") != testStore.String() {
				t.Errorf("version %d, %v, %v", rec.Version, err, res.Header)
			}
		})
	}
}

// A catalog that hangs delays one request by a bounded moment, and the next ones of the same second not at all.
func TestHangingCatalog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inStore := newMemory()
		inStore.latest["cities"] = record("cities", 7)
		hanging := &slowCatalog{}
		h := newRelay(t, inStore, hanging).Handler()
		for i, want := range []time.Duration{0, 250 * time.Millisecond, 0} {
			start := time.Now()
			if res := do(t, h, "GET", "/v1/datasets/cities/latest"); res.StatusCode != 200 || res.Header.Get("Freshet-From") != "store" {
				t.Errorf("%d %v", res.StatusCode, res.Header)
			}
			if took := time.Since(start); took != want {
				t.Errorf("request %d took %v, want %v", i+1, took, want)
			}
		}
		<-time.After(time.Second)
		hanging.rec = inStore.latest["cities"]
		hanging.calls.Store(0)
		do(t, h, "GET", "/v1/datasets/cities/latest")
		if res := do(t, h, "GET", "/v1/datasets/cities/latest"); res.Header.Get("Freshet-From") != "catalog" {
			t.Error("the catalog is not queried again")
		}
	})
}

// A corrupt key of one dataset does not affect the others: the catalog answers for them at once.
func TestACorruptEntryDoesNotPauseTheCatalog(t *testing.T) {
	inStore := newMemory()
	inStore.latest["cities"] = record("cities", 7)
	index := &slowCatalog{err: fmt.Errorf("%w: delete the key x", catalog.ErrCorrupt)}
	var logged strings.Builder
	r, err := relay.New(config(), relay.Deps{
		Store: inStore, Catalog: index, Log: slog.New(slog.NewTextHandler(&logged, nil)), Registry: web.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		if res := do(t, r.Handler(), "GET", "/v1/datasets/cities/latest"); res.StatusCode != 200 || res.Header.Get("Freshet-From") != "store" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	}
	if log := logged.String(); !strings.Contains(log, "dataset=cities") || !strings.Contains(log, "delete the key x") || strings.Contains(log, "does not answer") {
		t.Errorf("the log says %s", log)
	}
	index.err, index.rec = nil, record("prices", 3)
	inStore.latest["prices"] = index.rec
	do(t, r.Handler(), "GET", "/v1/datasets/prices/latest")
	if res := do(t, r.Handler(), "GET", "/v1/datasets/prices/latest"); res.Header.Get("Freshet-From") != "catalog" {
		t.Error("the catalog is not queried for another dataset")
	}
}

// Concurrent requests for one dataset are one read of the store.
func TestLatestIsLookedUpOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inStore := newMemory()
		inStore.latest["cities"] = record("cities", 7)
		hanging := &slowCatalog{}
		counted := &countedStore{memory: inStore}
		h := newRelay(t, counted, hanging).Handler()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if res := do(t, h, "GET", "/v1/datasets/cities/latest"); res.StatusCode != 200 || res.Header.Get("Freshet-From") != "store" {
					t.Errorf("%d %v", res.StatusCode, res.Header)
				}
			})
		}
		wg.Wait()
		if c, s := hanging.calls.Load(), counted.calls.Load(); c != 0 || s != 1 {
			t.Errorf("%d reads of the catalog and %d of the store", c, s)
		}
	})
}

// countedStore counts the reads of newest versions.
type countedStore struct {
	*memory
	calls atomic.Int64
}

func (s *countedStore) Newest(ctx context.Context, name string) (dataset.VersionRecord, dataset.StoreID, error) {
	s.calls.Add(1)
	<-time.After(time.Millisecond) // the other requests arrive
	return s.memory.Newest(ctx, name)
}

func TestLatestRefusals(t *testing.T) {
	m := newMemory()
	h := newRelay(t, m, nil).Handler()
	if res := do(t, h, "GET", "/v1/datasets/cities/latest"); res.StatusCode != 404 || problem(t, res) != "unknown-dataset" {
		t.Errorf("%d", res.StatusCode)
	}
	if res := do(t, h, "GET", "/v1/datasets/Cities/latest"); res.StatusCode != 400 || problem(t, res) != "bad-dataset-name" {
		t.Errorf("%d", res.StatusCode)
	}
	m.fail(errors.New("disk on fire"))
	if res := do(t, h, "GET", "/v1/datasets/cities/latest"); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || problem(t, res) != "store-unavailable" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}
