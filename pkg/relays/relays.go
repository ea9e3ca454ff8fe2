// Package relays settles in which order several relays that all have the same to give are asked, by instances (package
// pull) and by relays that stand behind others.
//
// It is settled by rendezvous hashing, so that a fleet of relays holds each object once, whoever asks. (The libraries for
// it, such as github.com/dgryski/go-rendezvous, name the first choice only; failing over needs the order.) A relay that
// failed lately is asked after those that did not, and one that gave wrong bytes lately only if no other is left.
//
// It asks nobody itself: who does says [Set.Fail], [Set.Refuse] or [Set.Served].
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
	// id is what the rendezvous hash knows the relay by: the same for all who write its URL the same way but for user and
	// password.
	id string

	mu sync.Mutex // guards what follows
	// failed and refused are when the relay last failed, and last gave wrong bytes, since the set was made; 0 if it never
	// did, or has served since it failed.
	failed, refused time.Duration
	health          Health
}

// String returns the relay's base URL without its password.
func (r *Relay) String() string { return redact.URL(r.base) }

// URL returns the base URL; it is not to be changed, and may hold a password.
func (r *Relay) URL() *url.URL { return r.base }

// Same reports whether r and other are one relay, whose URL is written the same way but for user and password.
func (r *Relay) Same(other *Relay) bool { return r.id == other.id }

// Set is relays that all have the same to give. Its methods may be called concurrently.
type Set struct {
	all      []*Relay
	start    time.Time
	distrust time.Duration
}

// New returns the set of the relays with these base URLs. One that gave wrong bytes is distrusted for so long.
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

// All returns the relays in the configured order. The slice is not to be changed.
func (s *Set) All() []*Relay { return s.all }

// Parse returns the base URL that text is. Its errors go on a sentence about the text, and never repeat a password.
func Parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is no URL; want http://host:port or https://host")
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

// Choice is a relay's place in the order in which to ask for something.
type Choice struct {
	*Relay
	Standing Standing

	since time.Duration
	score uint64
}

var places = map[Standing]int{Good: 0, Failed: 1, Distrusted: 2}

// InOrder returns the relays in the order in which to ask them for key: those in good standing by rendezvous hashing,
// then those that failed, then those that are distrusted, of both the longest ago first. All are in it: when every
// relay failed, each is still tried.
//
// With rendezvous hashing (D. G. Thaler and C. V. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998)
// each relay has a score for each key and the highest is asked first. All who ask agree without talking, so that each
// object is held by one relay; when a relay goes, its objects alone spread over the others.
func (s *Set) InOrder(key []byte) []Choice {
	order := make([]Choice, len(s.all))
	for i, r := range s.all {
		standing, since := s.standing(r)
		order[i] = Choice{r, standing, since, score(key, r.id)}
	}
	slices.SortStableFunc(order, func(a, b Choice) int {
		return cmp.Or(cmp.Compare(places[a.Standing], places[b.Standing]), cmp.Compare(a.since, b.since), cmp.Compare(b.score, a.score))
	})
	return order
}

func score(key []byte, id string) uint64 {
	return xxh3.Hash(append(append(make([]byte, 0, 128), key...), id...))
}
