package subscribe

import (
	"net/http"
	"runtime"

	"github.com/redis/go-redis/v9"
)

// requestsPerRelay bounds the requests that a dataset makes to a relay at a time: of a refresh, a query, and four refreshes that hang.
const requestsPerRelay = 6

// requests bounds the requests to relays at a time, and one to Redis. All of them together have a place in the I/O lane, because a pull from a
// slow relay must not delay a small delta from another. The pools are as large, so that no request waits for a connection.
func (c Config) requests() int { return requestsPerRelay*len(c.Datasets)*len(c.Relays) + 1 }

// warnOfPools logs settings that defeat one another.
func (s *Subscriber) warnOfPools() {
	if n := runtime.GOMAXPROCS(0); s.cfg.Workers > n {
		s.cfg.Log.Warn("Workers (FRESHET_WORKERS) is larger than the number of processors; only so many of them work at a time",
			"workers", s.cfg.Workers, "processors", n)
	}
	if t, ok := s.cfg.Transport.(*http.Transport); ok && t.MaxConnsPerHost > 0 && t.MaxConnsPerHost < s.cfg.requests() {
		s.cfg.Log.Warn("Transport limits the connections to a relay below the requests that the datasets may make at a time; refreshes may wait "+
			"for one another. Set its MaxConnsPerHost to 0 or more", "max_conns_per_host", t.MaxConnsPerHost, "requests", s.cfg.requests())
	}
}

// Pool is the state of a pool of connections.
type Pool struct {
	// Name is relays or redis.
	Name string
	// Max is how many connections the pool may have: to each relay, or to Redis. Open is how many it has, to all relays together.
	Max, Open int
	// Waits counts requests that waited for a connection of Redis, and Timeouts those that did not get one: from Redis's pool in time, or
	// from a relay that did not accept it.
	Waits, Timeouts uint64
}

// Pools returns the state of the pools of connections. A lookup depends on none. The connection to NATS is not pooled, and neither is a
// Transport of the caller.
func (s *Subscriber) Pools() (pools []Pool) {
	if c, ok := s.relays.Connections(); ok {
		pools = append(pools, Pool{Name: "relays", Max: c.Max, Open: c.Open, Timeouts: c.Failed})
	}
	if client, ok := s.redis.(*redis.Client); ok {
		stats := client.PoolStats()
		pools = append(pools, Pool{
			Name: "redis", Max: client.Options().PoolSize, Open: int(stats.TotalConns), Waits: uint64(stats.WaitCount), Timeouts: uint64(stats.Timeouts),
		})
	}
	return pools
}
