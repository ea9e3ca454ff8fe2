// Package relays ranks several relays of the same store for each key, and keeps their health. Instances and relays that
// read from other relays use it through package pull.
//
// The order comes from rendezvous hashing, so that a fleet of relays holds each object once, whichever client reads it.
// (Libraries for it, such as github.com/dgryski/go-rendezvous, return the first choice only; failover needs the order.) A
// relay that failed recently ranks after the others, and a relay that sent wrong bytes recently ranks last.
//
// The package sends no requests. Its user reports their outcome with [Set.Fail], [Set.Busy], [Set.Refuse] and [Set.Served].
package relays

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/redact"
)

// Relay is one relay of a [Set].
type Relay struct {
	base *url.URL
	// id is the relay's key in the rendezvous hash. It is equal in all clients that write the URL the same way, except for
	// user and password.
	id string

	mu sync.Mutex // guards the fields below
	// failed and refused are the times, since New, of the last failure and the last wrong bytes. Zero means none; failed is
	// also zero once the relay has served again.
	failed, refused time.Duration
	health          Health
}

// String returns the relay's base URL without its password.
func (r *Relay) String() string { return redact.URL(r.base) }

// URL returns the base URL, which may hold a password. Callers must not change it.
func (r *Relay) URL() *url.URL { return r.base }

// Same reports whether the URLs of r and other are written the same way, except for user and password.
func (r *Relay) Same(other *Relay) bool { return r.id == other.id }

// Set is a set of relays that read the same store. Its methods may be called concurrently.
type Set struct {
	all      []*Relay
	start    time.Time
	distrust time.Duration
}

// New returns the set of the relays with these base URLs. A relay that sends wrong bytes is distrusted for the time distrust.
func New(urls []string, distrust time.Duration) (*Set, error) {
	s := &Set{start: time.Now(), distrust: distrust}
	for i, text := range urls {
		base, err := Parse(text)
		if err != nil {
			return nil, fmt.Errorf("relay %d %w", i+1, err)
		}
		id := *base
		id.User, id.Host = nil, strings.ToLower(id.Host)
		s.all = append(s.all, &Relay{base: base, id: id.String()})
	}
	return s, nil
}

// All returns the relays in the configured order. Callers must not change the slice.
func (s *Set) All() []*Relay { return s.all }

// Parse parses a relay's base URL. Its errors are predicates, such as "has no host", without a subject, and never contain
// a password.
func Parse(text string) (*url.URL, error) {
	if err := redact.CheckOne(text); err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a URL; want http://host:port or https://host")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("has the scheme %.16q; want http://host:port or https://host", u.Scheme)
	case u.Host == "":
		return nil, errors.New("has no host; want http://host:port or https://host")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("is %q, which has a query or a fragment; want a base URL", redact.URL(u))
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// Choice is a relay with its rank for a key.
type Choice struct {
	*Relay
	Standing Standing

	since time.Duration
	score uint64
}

var ranks = map[Standing]int{Good: 0, Failed: 1, Distrusted: 2}

// InOrder returns all relays in the order in which to query them for key:
//
//   - those in good standing, by rendezvous hashing;
//   - those that failed, the earliest failure first;
//   - those that are distrusted, the earliest refusal first.
//
// With rendezvous hashing (D. G. Thaler and C. V. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998)
// each relay has a score for each key, and the highest score wins. All clients agree without communication, so each object
// is held by one relay. When a relay is removed, only its own objects move, and they spread over the others.
func (s *Set) InOrder(key []byte) []Choice {
	order := make([]Choice, len(s.all))
	for i, r := range s.all {
		standing, since := s.standing(r)
		order[i] = Choice{r, standing, since, score(key, r.id)}
	}
	slices.SortStableFunc(order, func(a, b Choice) int {
		return cmp.Or(cmp.Compare(ranks[a.Standing], ranks[b.Standing]), cmp.Compare(a.since, b.since), cmp.Compare(b.score, a.score))
	})
	return order
}

func score(key []byte, id string) uint64 {
	return xxh3.Hash(append(append(make([]byte, 0, 128), key...), id...))
}
