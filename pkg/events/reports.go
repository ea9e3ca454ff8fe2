package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

// beaconBuffer is how many messages of beacons may wait to be read: enough for all parts of one for a store with very many
// datasets. What does not fit is no loss: the next beacon says the same.
const beaconBuffer = 1024

// maxWords bounds how many publishers' words on a dataset wait.
const maxWords = 32

// Report is what beacons said of a dataset.
type Report struct {
	// Version is the newest that is committed, 0 if none is.
	Version uint64
	// ID is the version's id, and Store that of the store; zero from a publisher of the releases before them.
	ID    dataset.VersionID
	Store dataset.StoreID
	// At is when it was heard, with a monotonic reading.
	At time.Time
	// Every is the period of the beacon, and Publisher who sent it.
	Every     time.Duration
	Publisher string
	// Sent is when the beacon was sent, by the publisher's clock.
	Sent time.Time
}

// Beacons is what was heard of beacons since the last time that it was received.
type Beacons struct {
	// Reports has the datasets that beacons spoke for: of each publisher and dataset the last word, in the order of arrival.
	Reports map[string][]Report
	// Denied is why no beacon can come: the server does not let this user subscribe to them.
	Denied error
}

// Beacons returns the channel of what beacons say of the Listener's datasets.
func (l *Listener) Beacons() <-chan Beacons { return l.beacons }

// beaconDenied reports whether err says that the server refused the subscription to beacons.
func (s subjects) beaconDenied(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `Subscription to "`+s.beacon+`"`)
}

// listenToBeacons subscribes to beacons.
func (s *listening) listenToBeacons() error {
	sub, err := s.nc.ChanSubscribe(s.subjects.beacon, s.beaconMessages)
	if errors.Is(err, nats.ErrConnectionClosed) {
		return ErrClosed
	}
	if err != nil {
		return fmt.Errorf("listen to beacons: subscribe to %s: %w", s.subjects.beacon, err)
	}
	s.beaconSubscription = sub
	return nil
}

// hear takes in a beacon.
func (s *listening) hear(m *nats.Msg) {
	data, mine := s.sift(m.Data)
	if !mine {
		return
	}
	b, err := decodeBeacon(data)
	if err != nil {
		// It speaks for nothing, which is all that counts. Whoever sends it will send more of them: one line says it.
		if s.unreadable.Add(1) == 1 {
			s.log.Warn("a beacon is not readable; further ones are only counted", "error", err)
		}
		return
	}
	now := time.Now()
	for name := range s.names {
		newest, ok := b.Version(name)
		if !ok {
			continue
		}
		if s.heard.Reports == nil {
			s.heard.Reports = make(map[string][]Report, len(s.names))
		}
		words := slices.DeleteFunc(s.heard.Reports[name], func(w Report) bool { return w.Publisher == b.Publisher && w.Store == b.Store })
		if len(words) < maxWords {
			words = append(words, Report{
				Version: newest.Version, ID: newest.ID, Store: b.Store, At: now, Every: b.Every, Publisher: b.Publisher, Sent: b.Sent,
			})
		}
		s.heard.Reports[name] = words
		s.heard.Denied = nil
	}
}

// UnreadableBeacons returns how many messages came as beacons and were none that can be read.
func (l *Listener) UnreadableBeacons() uint64 { return l.unreadable.Load() }

// deaf notes that no beacon will come.
func (s *listening) deaf(err error) {
	s.heard = Beacons{Denied: fmt.Errorf("the server does not let this user subscribe to %s: %w", s.subjects.beacon, err)}
}

// offerHeard returns what a select offers of beacons: the channel is nil while there is nothing to send.
func (s *listening) offerHeard() (chan<- Beacons, Beacons) {
	if s.heard.Reports == nil && s.heard.Denied == nil {
		return nil, Beacons{}
	}
	return s.beacons, s.heard
}
