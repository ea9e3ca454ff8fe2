package refresh

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

func logOf(name string, version uint64) func() (map[string]dataset.VersionRecord, error) {
	return func() (map[string]dataset.VersionRecord, error) {
		return map[string]dataset.VersionRecord{name: rec(name, version)}, nil
	}
}

func TestCatchUpAtStartAndOnReasons(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 7)
		r.start(config)
		r.serves("prices", 7)
		r.log = logOf("prices", 9)
		r.catchUps <- "reconnect"
		synctest.Wait()
		r.serves("prices", 9)
		r.log = logOf("prices", 3) // a stream that was made anew orders nothing
		r.catchUps <- "slow consumer"
		synctest.Wait()
		r.serves("prices", 9)
		if want := []string{"prices"}; !slices.Equal(r.queried, want) {
			t.Errorf("the relays were asked about %q; want %q, once, when the log knew less than is served", r.queried, want)
		}
		want := []string{"start: caught up", "reconnect: caught up", "slow consumer: caught up"}
		if reports := r.reports(); !slices.Equal(reports, want) {
			t.Errorf("the watcher received %q, want %q", reports, want)
		}
	})
}

func TestRelaysAreQueriedAboutWhatTheLogDoesNotHave(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Datasets = []string{"ads", "prices", "rules"}
		r.log = logOf("prices", 1)
		r.relay = func(name string) (uint64, error) {
			if name == "rules" {
				return 4, nil
			}
			return 0, nil // no version yet: no error
		}
		r.start(cfg)
		r.serves("prices", 1)
		r.serves("rules", 4)
		r.serves("ads", 0)
		pass(time.Hour)
		slices.Sort(r.queried)
		if !slices.Equal(r.queried, []string{"ads", "rules"}) {
			t.Errorf("the relays were asked about %q, want ads and rules once", r.queried)
		}
	})
}

func TestCatchUpIsRetriedUntilTheLogAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Datasets = []string{"ads", "prices"}
		r.stored = map[string]uint64{"prices": 1}
		var down atomic.Bool
		down.Store(true)
		r.log = func() (map[string]dataset.VersionRecord, error) {
			if down.Load() {
				return nil, errors.New("log is down")
			}
			return map[string]dataset.VersionRecord{"ads": rec("ads", 2), "prices": rec("prices", 2)}, nil
		}
		r.relay = func(string) (uint64, error) {
			if down.Load() {
				return 0, errors.New("relay is down")
			}
			return 0, nil
		}
		r.start(cfg)
		pass(10 * time.Minute)
		r.serves("prices", 1)
		attempts := len(r.reports())
		if attempts < 10 || attempts > 50 {
			t.Errorf("%d catch-ups in ten minutes", attempts)
		}
		// The relays are not polled about the dataset that is served from the folder. Only the first attempt, which may
		// have begun before the swap, can have queried them.
		if n := len(slices.DeleteFunc(slices.Clone(r.queried), func(s string) bool { return s == "ads" })); n > 1 {
			t.Errorf("the relays were asked %d times about a dataset that is served", n)
		}
		reports := r.reports()[attempts-1]
		for _, want := range []string{"start: ", "read the event log: log is down", "relay is down", "again in "} {
			if !strings.Contains(reports, want) {
				t.Errorf("the watcher received %q, want in it %q", reports, want)
			}
		}
		down.Store(false)
		r.catchUps <- "reconnect" // does not wait for the backoff
		synctest.Wait()
		r.serves("prices", 2)
		r.serves("ads", 2)
		n := len(r.reports())
		pass(time.Hour)
		if len(r.reports()) != n {
			t.Error("catch-ups go on after success")
		}
	})
}

func TestInstanceWithoutLogIsServedByTheRelays(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = func() (map[string]dataset.VersionRecord, error) { return nil, errors.New("log is down") }
		r.relay = func(string) (uint64, error) { return 3, nil }
		r.start(config)
		r.serves("prices", 3)
	})
}

func TestReasonsDuringACatchUpMakeOneMore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.log = func() (map[string]dataset.VersionRecord, error) { <-gate; return nil, nil }
		r.start(config)
		for range 10 {
			r.catchUps <- "slow consumer"
		}
		close(gate)
		synctest.Wait()
		if reports := r.reports(); !slices.Equal(reports, []string{"start: caught up", "slow consumer: caught up"}) {
			t.Errorf("the watcher received %q", reports)
		}
	})
}

func TestPanicInTheLogReaderIsRetried(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		calls := 0
		r.log = func() (map[string]dataset.VersionRecord, error) {
			if calls++; calls == 1 {
				panic("boom")
			}
			return logOf("prices", 1)()
		}
		r.start(config)
		pass(config.Retry.Initial * 3 / 2)
		r.serves("prices", 1)
	})
}

// A log that lost its end, or was replaced by an older copy, does not have the served version, and cannot confirm it.
func TestLogThatIsBehindConfirmsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 9)
		relay := uint64(0)
		r.relay = func(string) (uint64, error) { return relay, nil }
		r.start(config)
		r.is("prices", fleet.Fresh)
		pass(time.Minute)
		r.is("prices", fleet.Blind)
		r.log = logOf("prices", 5)
		for _, relay = range []uint64{0, 7} { // nor does a relay that knows less
			r.catchUps <- "reconnected"
			synctest.Wait()
			r.is("prices", fleet.Blind)
		}
		relay = 9
		r.catchUps <- "reconnected"
		synctest.Wait()
		r.is("prices", fleet.Fresh)
		relay = 10
		r.catchUps <- "reconnected"
		synctest.Wait()
		r.serves("prices", 10)
		r.is("prices", fleet.Fresh)
		if reports := r.reports(); strings.Contains(strings.Join(reports, " "), "again") {
			t.Errorf("a catch-up failed: %q", reports)
		}
	})
}
