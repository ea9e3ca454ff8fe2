package pull

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
)

// relay is one of the client's relays.
type relay struct {
	base *url.URL
	// id is what the rendezvous hash knows the relay by: the same for all clients that write its URL the same way but
	// for user and password.
	id string

	mu sync.Mutex // guards what follows
	// failed and refused are when the relay last failed, and last gave wrong bytes, since the client's start; 0 if it
	// never did, or has served since it failed.
	failed, refused time.Duration
	health          Health
}

func newRelay(base *url.URL) *relay {
	id := *base
	id.User, id.Host = nil, strings.ToLower(id.Host)
	return &relay{base: base, id: id.String()}
}

func (r *relay) String() string { return r.base.Redacted() }

// Standing is what a client thinks of a relay.
type Standing string

// The standings of a relay.
const (
	// Good: asked first.
	Good Standing = "good"
	// Failed: it failed lately, and is asked after those in good standing.
	Failed Standing = "failed"
	// Distrusted: it gave wrong bytes lately, and is asked only if no other relay is left.
	Distrusted Standing = "distrusted"
)

// Health is how a relay did.
type Health struct {
	Relay    string // its base URL without its password
	Standing Standing
	// Failures counts how often it was down, silent or without a usable answer, Refusals how often it gave wrong bytes.
	// A relay that is busy has not failed.
	Failures, Refusals uint64
	// Err is the last of either; nil if there was none.
	Err error
}

// relays keeps the relays in the configured order.
type relays struct {
	all      []*relay
	start    time.Time
	distrust time.Duration
}

// now is monotonic: a step of the wall clock must not bench a relay. It is never 0.
func (rs *relays) now() time.Duration { return time.Since(rs.start) + 1 }

// fail takes note that r could not be had.
func (rs *relays) fail(r *relay, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = rs.now()
	r.health.Failures++
	r.health.Err = err
}

// refuse takes note that r gave wrong bytes.
func (rs *relays) refuse(r *relay, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = rs.now()
	r.health.Refusals++
	r.health.Err = err
}

// served takes note that r gave all that was asked for. What it gave may still be wrong.
func (rs *relays) served(r *relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = 0
}

// standing returns what to think of r, and since when.
func (rs *relays) standing(r *relay) (Standing, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := rs.now()
	switch {
	case r.refused != 0 && now-r.refused < rs.distrust:
		return Distrusted, r.refused
	case r.failed != 0 && now-r.failed < cooldown:
		return Failed, r.failed
	}
	return Good, 0
}

// choice is a relay's place in the order in which to ask for something.
type choice struct {
	*relay
	standing Standing
	since    time.Duration
	score    uint64
}

var places = map[Standing]int{Good: 0, Failed: 1, Distrusted: 2}

// inOrder returns the relays in the order in which to ask them for key: those in good standing by rendezvous hashing,
// then those that failed, then those that are distrusted, of both the longest ago first. All are in it: when every
// relay failed, each is still tried.
//
// With rendezvous hashing (D. G. Thaler and C. V. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998)
// each relay has a score for each key and the highest is asked first. All clients agree without talking, so that each
// object is held by one relay; when a relay goes, its objects alone spread over the others.
func (rs *relays) inOrder(key []byte) []choice {
	order := make([]choice, len(rs.all))
	for i, r := range rs.all {
		standing, since := rs.standing(r)
		order[i] = choice{r, standing, since, score(key, r.id)}
	}
	slices.SortStableFunc(order, func(a, b choice) int {
		return cmp.Or(cmp.Compare(places[a.standing], places[b.standing]), cmp.Compare(a.since, b.since), cmp.Compare(b.score, a.score))
	})
	return order
}

func score(key []byte, id string) uint64 {
	return xxh3.Hash(append(append(make([]byte, 0, 128), key...), id...))
}

// others reports whether there is a relay that is not distrusted.
func (rs *relays) others() bool {
	return slices.ContainsFunc(rs.all, func(r *relay) bool {
		s, _ := rs.standing(r)
		return s != Distrusted
	})
}

// Health returns how each relay did, in the configured order.
func (c *Client) Health() []Health {
	all := make([]Health, len(c.relays.all))
	for i, r := range c.relays.all {
		standing, _ := c.relays.standing(r)
		r.mu.Lock()
		all[i] = r.health
		r.mu.Unlock()
		all[i].Relay, all[i].Standing = r.String(), standing
	}
	return all
}
