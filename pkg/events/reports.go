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

// beaconBuffer is the number of beacon messages that may be queued: enough for all parts of a beacon of a store with very
// many datasets. A dropped message does no harm: the next beacon reports the same.
const beaconBuffer = 1024

// maxReports bounds the number of pending reports on a dataset, each from another publisher.
const maxReports = 32

// Report is a publisher's report, in a beacon, of the newest version of a dataset.
type Report struct {
	// Version is the newest committed version, or 0 if there is none.
	Version uint64
	// ID is the version's id, and Store the store's id; zero from a publisher of the releases before these ids.
	ID    dataset.VersionID
	Store dataset.StoreID
	// Journal is the number of the newest journal entry; 0 if the beacon does not name it.
	Journal uint64
	// At is the time of arrival, with a monotonic reading.
	At time.Time
	// Every is the period of the publisher's beacons.
	Every     time.Duration
	Publisher string
	// Sent is the time at which the beacon was sent, by the publisher's clock.
	Sent time.Time
}

// Beacons is the content of the beacons that have arrived since the last receive.
type Beacons struct {
	// Reports has the last report of each publisher on each dataset, in the order of arrival.
	Reports map[string][]Report
	// Denied is not nil if no beacon can arrive, because the server does not let this user subscribe to them.
	Denied error
}

// Beacons returns the channel of the beacons' reports on the Listener's datasets.
func (l *Listener) Beacons() <-chan Beacons { return l.beacons }

// beaconDenied reports whether err says that the server refused the subscription to beacons.
func (s subjects) beaconDenied(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `Subscription to "`+s.beacon+`"`)
}

// subscribeToBeacons subscribes to beacons.
func (s *listening) subscribeToBeacons() error {
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

// receiveBeacon handles a message of a beacon.
func (s *listening) receiveBeacon(m *nats.Msg) {
	data, relevant := s.filter(m.Data)
	if !relevant {
		return
	}
	b, err := decodeBeacon(data)
	if err != nil {
		// An unreadable beacon has no effect. Its sender will send more of them: one line in the log is enough.
		if s.unreadable.Add(1) == 1 {
			s.log.Warn("a beacon is not readable; further ones are not logged", "error", err)
		}
		return
	}
	now := time.Now()
	for name := range s.names {
		newest, ok := b.Version(name)
		if !ok {
			continue
		}
		if s.received.Reports == nil {
			s.received.Reports = make(map[string][]Report, len(s.names))
		}
		reports := slices.DeleteFunc(s.received.Reports[name], func(r Report) bool { return r.Publisher == b.Publisher && r.Store == b.Store })
		if len(reports) < maxReports {
			reports = append(reports, Report{
				Version: newest.Version, ID: newest.ID, Store: b.Store, Journal: b.Journal[name], At: now, Every: b.Every, Publisher: b.Publisher, Sent: b.Sent,
			})
		}
		s.received.Reports[name] = reports
		s.received.Denied = nil
	}
}

// beaconsDenied records that the server refused the subscription to beacons.
func (s *listening) beaconsDenied(err error) {
	s.received = Beacons{Denied: fmt.Errorf("the server does not let this user subscribe to %s: %w", s.subjects.beacon, err)}
}

// offerBeacons returns the channel and the value to send. The channel is nil while there is nothing to send.
func (s *listening) offerBeacons() (chan<- Beacons, Beacons) {
	if s.received.Reports == nil && s.received.Denied == nil {
		return nil, Beacons{}
	}
	return s.beacons, s.received
}
