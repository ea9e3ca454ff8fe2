package pull

import (
	"cmp"
	"net/url"
	"slices"
	"sync/atomic"
	"time"
)

// relay is one of the client's relays.
type relay struct {
	base *url.URL
	// failed is when the relay last failed, in nanoseconds since the client's start; 0 if it never did or has served
	// since.
	failed atomic.Int64
}

func (r *relay) String() string { return r.base.Redacted() }

// relays keeps the relays in the configured order.
type relays struct {
	all   []*relay
	start time.Time
}

// now is monotonic: a step of the wall clock must not bench a relay.
func (rs *relays) now() time.Duration { return time.Since(rs.start) + 1 }

func (rs *relays) fail(r *relay) { r.failed.Store(int64(rs.now())) }

// inOrder returns the relays in the order in which to ask them: those that did not fail during the last cooldown as
// configured, then the others, the longest ago first. All are in it: when every relay failed, each is still tried.
func (rs *relays) inOrder() []*relay {
	now := rs.now()
	since := make(map[*relay]int64, len(rs.all))
	for _, r := range rs.all {
		if at := r.failed.Load(); at != 0 && now-time.Duration(at) < cooldown {
			since[r] = at
		}
	}
	order := slices.Clone(rs.all)
	slices.SortStableFunc(order, func(a, b *relay) int { return cmp.Compare(since[a], since[b]) })
	return order
}
