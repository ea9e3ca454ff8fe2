package refresh

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
)

// Invariant: while the relays do not answer about a dataset that the log does not have, the log's records of other datasets are accepted at
// once, at the start as well as after a lost event.
func TestRelaysThatHangHoldUpNoCatchUp(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Datasets = []string{"ads", "prices"}
		r.relaysHang = map[string]bool{"ads": true}
		r.log = logOf("prices", 7)
		r.start(cfg)
		r.serves("prices", 7)
		r.beacon(map[string]uint64{"prices": 7})
		r.log = logOf("prices", 8)
		r.beacon(map[string]uint64{"prices": 8})
		r.serves("prices", 8)
		if h := r.engine.Health("prices"); h.Healed != 1 || h.CatchUpErr != nil {
			t.Errorf("the health of prices is %+v", h)
		}
		pass(cfg.Stall)
		if h := r.engine.Health("ads"); h.CatchUpErr == nil {
			t.Error("ads does not say why its newest version is not known")
		}
		if h := r.engine.Health("prices"); h.CatchUpErr != nil {
			t.Errorf("prices has the error %v", h.CatchUpErr)
		}
		if reports := r.reports(); !slices.ContainsFunc(reports, func(s string) bool { return strings.Contains(s, "again in") }) {
			t.Errorf("the watcher received %q, want that the catch-up is tried again", reports)
		}
	})
}

// Relays that hang on many datasets do not delay queries about others.
func TestQueriesThatHangHoldUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Datasets = nil
		r.relaysHang = make(map[string]bool)
		for i := range 12 {
			name := fmt.Sprint("bad", i)
			cfg.Datasets, r.relaysHang[name] = append(cfg.Datasets, name), true
		}
		cfg.Datasets = append(cfg.Datasets, "prices")
		r.relay = func(string) (uint64, error) { return 3, nil }
		r.start(cfg)
		pass(3 * slowQueryAfter)
		r.serves("prices", 3)
	})
}

// Invariant: relays that hang on any number of datasets delay queries about others by seconds at the start, and not at all later. The number
// of concurrent queries is bounded.
func TestQueriesThatHangAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Stall, cfg.Datasets = 30*time.Second, nil
		r.relaysHang = make(map[string]bool)
		for i := range 200 {
			name := fmt.Sprint("bad", i)
			cfg.Datasets, r.relaysHang[name] = append(cfg.Datasets, name), true
		}
		cfg.Datasets = append(cfg.Datasets, "prices")
		version := uint64(1)
		r.relay = func(string) (uint64, error) { return version, nil }
		before := runtime.NumGoroutine()
		r.start(cfg)
		for range 200 {
			pass(100 * time.Millisecond)
			if n := runtime.NumGoroutine() - before; n > maxOpenQueries+maxWorkers(cfg)+10 {
				t.Fatalf("%d goroutines", n)
			}
		}
		r.serves("prices", 1)
		pass(41 * time.Second)
		version = 2
		r.catchUps <- "reconnected"
		pass(2 * slowQueryAfter)
		r.serves("prices", 2)
		if h := r.engine.Health("bad0"); h.CatchUpErr == nil || !strings.Contains(h.CatchUpErr.Error(), "other datasets waited") {
			t.Errorf("the error of bad0 is %v", h.CatchUpErr)
		}
	})
}

// Invariant: queries that wait for one slow relay of several are not cancelled.
func TestSlowQueriesAreNotCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Datasets = nil
		for i := range 100 {
			cfg.Datasets = append(cfg.Datasets, fmt.Sprint("slow", i))
		}
		r.relay = func(string) (uint64, error) {
			time.Sleep(1200 * time.Millisecond)
			return 1, nil
		}
		r.start(cfg)
		pass(10 * time.Second)
		for _, name := range cfg.Datasets {
			r.serves(name, 1)
		}
		if len(r.queried) != len(cfg.Datasets) {
			t.Errorf("%d queries of %d datasets", len(r.queried), len(cfg.Datasets))
		}
	})
}

// A record of the log that may belong to an ended history waits for the relays, but not for long.
func TestRecordOfTheLogWaitsForTheRelaysAWhile(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.relaysHang = map[string]bool{"prices": true}
		newest := history(storeA, "old", 1, 4)[3]
		r.log = func() (map[string]dataset.VersionRecord, error) {
			return map[string]dataset.VersionRecord{"prices": newest}, nil
		}
		r.start(config)
		r.serves("prices", 0)
		pass(headStart)
		r.serves("prices", 4)
	})
}

// A catch-up that is requested while relays are queried for an earlier one queries them again.
func TestQueryThatIsRequestedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		version := uint64(1)
		r.relay = func(string) (uint64, error) {
			v := version
			<-gate
			return v, nil
		}
		r.start(config)
		version = 2
		r.catchUps <- "reconnected"
		r.catchUps <- "slow consumer"
		synctest.Wait()
		close(gate)
		synctest.Wait()
		r.serves("prices", 2)
		if len(r.queried) != 2 {
			t.Errorf("the relays were queried %d times", len(r.queried))
		}
		pass(time.Hour)
		if reports := r.reports(); len(reports) != 3 {
			t.Errorf("the watcher received %q", reports)
		}
	})
}
