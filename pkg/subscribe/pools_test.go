package subscribe_test

import (
	"net/http"
	"runtime"
	"testing"

	"freshet.dev/pkg/servertest"
)

// Settings that defeat one another are in the log from the start.
func TestSettingsThatDefeatOneAnother(t *testing.T) {
	w := newWorld(t)
	for what, c := range map[string]struct {
		connections, workers int
		warns, warnsOfPool   bool
	}{
		"fine":                {0, runtime.GOMAXPROCS(0), false, false},
		"many workers":        {0, runtime.GOMAXPROCS(0) + 1, true, false},
		"few connections":     {6, 0, false, true},
		"as many connections": {7, 0, false, false},
	} {
		var log logbook
		cfg := w.config("prices")
		cfg.Log, cfg.Workers = log.logger(), c.workers
		cfg.Transport = &http.Transport{MaxConnsPerHost: c.connections}
		s := open(t, cfg)
		if got := log.has("Workers (FRESHET_WORKERS) is larger"); got != c.warns {
			t.Errorf("%s: a warning of the workers: %v", what, got)
		}
		if got := log.has("Set its MaxConnsPerHost to 0 or more"); got != c.warnsOfPool {
			t.Errorf("%s: a warning of the connections: %v", what, got)
		}
		if pools := s.Pools(); len(pools) != 0 {
			t.Errorf("%s: the caller's transport has the pools %+v", what, pools)
		}
	}
}

// The pool of Redis is counted from its first connection.
func TestPoolOfRedis(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.Redis = servertest.Redis(t).URL + "?pool_size=3"
	s := open(t, cfg)
	await(t, "a connection to Redis", func() bool {
		pools := s.Pools()
		return len(pools) == 2 && pools[1].Name == "redis" && pools[1].Max == 3 && pools[1].Open == 1 && pools[1].Waits == 0
	})
	await(t, "the record to have left the I/O lane", func() bool { return s.Lanes().IO.Stats().Own.Run.Count > 0 })
}
