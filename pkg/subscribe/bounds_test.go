package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// ofSize is the content of a version with that many records.
func ofSize(n int) records {
	content := records{}
	for i := range n {
		content[fmt.Sprintf("key%d", i)] = fmt.Sprint(n)
	}
	return content
}

// refusals collects the failures of a subscriber.
type refusals struct {
	mu  sync.Mutex
	all []subscribe.Failure
}

func (r *refusals) observe(cfg subscribe.Config) subscribe.Config {
	cfg.Observer.Failed = func(f subscribe.Failure) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, f)
	}
	return cfg
}

func (r *refusals) list() []subscribe.Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]subscribe.Failure(nil), r.all...)
}

// A version with too many records is refused: the version before stays served, the status says why, nothing is pulled, and the next version
// that fits is served.
func TestVersionOutsideOfTheBounds(t *testing.T) {
	w := newWorld(t)
	var failures refusals
	var log logbook
	cfg := failures.observe(w.config("prices"))
	cfg.Bounds.MaxRecords, cfg.Log = 20, log.logger()
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	pulls := w.relay.objects.Load()
	w.announce(w.commit("prices", 2, ofSize(21)))
	await(t, "the refusal", func() bool { return statusOf(t, s, "prices").Error != "" })
	st := statusOf(t, s, "prices")
	if st.Version != 1 || st.Newest != 2 || st.State != fleet.Failing || st.BehindSince.IsZero() ||
		!strings.Contains(st.Error, "max_records: version prices/2 has 21 records, the most is 20 (FRESHET_MAX_RECORDS)") {
		t.Errorf("the status is %+v", st)
	}
	w.announce(w.commit("prices", 3, ofSize(22)))
	await(t, "another refusal", func() bool { return strings.Contains(statusOf(t, s, "prices").Error, "prices/3") })
	if n := w.relay.objects.Load(); n != pulls {
		t.Errorf("refusals pulled %d objects", n-pulls)
	}
	w.publish("prices", 4)
	awaitVersion(t, s, "prices", 4)
	if st := statusOf(t, s, "prices"); st.Error != "" || st.State == fleet.Failing {
		t.Errorf("the status is %+v", st)
	}
	all := failures.list()
	if len(all) != 2 || !errors.Is(all[0].Err, subscribe.ErrBounds) || all[0].Bound != "max_records" || all[0].Repeated || all[1].Repeated {
		t.Errorf("the failures are %+v", all)
	}
	if n := log.count("is refused by the bounds of this instance"); n != 2 {
		t.Errorf("%d lines in the log", n)
	}
}

// Before the first version, Wait names the bound. While memory is short the version is tried again, is logged once, and is served as soon as
// there is memory.
func TestFirstVersionWithoutMemory(t *testing.T) {
	w := newWorld(t)
	var failures refusals
	var log logbook
	var left atomic.Int64
	cfg := subscribe.WithMemory(failures.observe(w.config("prices")), func() (int64, error) { return left.Load(), nil })
	cfg.Bounds.MinMemoryLeft, cfg.Log = 1<<20, log.logger()
	s := open(t, cfg)
	w.publish("prices", 1)
	await(t, "attempts", func() bool { return len(failures.list()) >= 4 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Wait(ctx); err == nil || !strings.Contains(err.Error(), "outside of the bounds of this instance: min_memory_left: the load of version prices/1 takes about ") {
		t.Errorf("Wait returned %v", err)
	}
	if w.relay.objects.Load() != 0 || log.count("is refused by the bounds of this instance") != 1 {
		t.Errorf("%d pulls, and the log is %s", w.relay.objects.Load(), log.text.String())
	}
	for i, f := range failures.list() {
		if f.Bound != "min_memory_left" || f.Repeated != (i > 0) {
			t.Errorf("failure %d is %+v", i, f)
		}
	}
	left.Store(1 << 30)
	awaitVersion(t, s, "prices", 1)
}

// A version in the cache folder is bound too, and stays there.
func TestCachedVersionOutsideOfTheBounds(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	await(t, "the version in the cache folder", func() bool { return len(files(t, cfg.CacheDir)) > 0 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var log logbook
	bound := cfg
	bound.Bounds.MaxRecords, bound.Log = 19, log.logger()
	s = open(t, bound)
	await(t, "the refusals", func() bool { return statusOf(t, s, "prices").Error != "" })
	if st := statusOf(t, s, "prices"); st.Version != 0 || !log.has("the newest version in the cache folder cannot be served") {
		t.Errorf("the status is %+v, the log %s", st, log.text.String())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.relay.stop()
	s = open(t, cfg)
	awaitVersion(t, s, "prices", 1)
	if st := statusOf(t, s, "prices"); st.From != fleet.Cache {
		t.Errorf("the status is %+v", st)
	}
}

// The total bound counts what other datasets have; deltas stay possible.
func TestTotalOfAllDatasets(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices", "rules")
	cfg.Bounds.MaxTotalBytes = 1 << 20
	s := open(t, cfg)
	large := records{}
	for i := range 700 {
		large[fmt.Sprint("key", i)] = strings.Repeat("x", 1000)
	}
	p := &pipeline{w: w, name: "prices"}
	w.announce(p.commit(large, true, 9))
	await(t, "the first version", func() bool { return statusOf(t, s, "prices").Version == 1 })
	w.announce(w.commit("rules", 1, large))
	await(t, "the refusal", func() bool {
		return strings.Contains(statusOf(t, s, "rules").Error, "max_total_bytes: version rules/1")
	})
	large["key0"] = "changed"
	w.announce(p.commit(large, false, 9))
	await(t, "a delta", func() bool { return statusOf(t, s, "prices").Version == 2 })
	w.announce(p.commit(ofSize(20), true, 9))
	await(t, "room for the other dataset", func() bool { return statusOf(t, s, "rules").Version == 1 })
}

// A bound that cannot be kept is warned of.
func TestUnknownMemory(t *testing.T) {
	w := newWorld(t)
	var log logbook
	cfg := subscribe.WithMemory(w.config("prices"), func() (int64, error) { return 0, errors.New("not known") })
	cfg.Bounds.MinMemoryLeft, cfg.Log = 1<<40, log.logger()
	s := open(t, cfg)
	if !log.has("the bound on the memory left (FRESHET_MIN_MEMORY_LEFT) is not kept") {
		t.Error("no warning")
	}
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
}
