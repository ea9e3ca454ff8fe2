package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

const (
	// DefaultBeaconEvery is how often a publisher sends a beacon unless told otherwise, and what an instance that has not
	// heard one yet takes for the period.
	DefaultBeaconEvery = 5 * time.Second
	// MinBeaconEvery and MaxBeaconEvery bound the period. An instance that is told a longer one would take days to notice
	// that it is blind.
	MinBeaconEvery = 10 * time.Millisecond
	MaxBeaconEvery = time.Hour
	// BlindAfter is how many periods without a beacon make an instance blind.
	BlindAfter = 3
)

// ErrBeacon is wrapped by every error that refuses a beacon.
var ErrBeacon = errors.New("not a beacon")

// Beacon says which version of each dataset is the newest that is committed, as its sender has just read in the store. It
// is what an instance goes by to know that it missed an event, and that it would not hear of one.
type Beacon struct {
	// Publisher says who sends it, for people to read.
	Publisher string    `json:"publisher"`
	Sent      time.Time `json:"sent"`
	// Every is the period after which the next one is sent, in nanoseconds.
	Every time.Duration `json:"every_ns"`
	// From and To bound the names that this message speaks for, from From on and before To; empty: there is no bound. A
	// store with many datasets takes several messages.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Store is the id of the store that was read; zero from a publisher of the releases before store ids.
	Store dataset.StoreID `json:"store,omitzero"`
	// Newest has the newest version of each dataset. One that is within the bounds and not here has no version.
	Newest map[string]uint64 `json:"newest"`
	// IDs has the ids of these versions.
	IDs map[string]dataset.VersionID `json:"ids,omitempty"`
	// Unread names datasets whose newest version could not be read, so that the beacon does not speak for them.
	Unread []string `json:"unread,omitempty"`
}

// Version returns the newest version of the dataset, zero if it has none; ok is false if the beacon does not speak for it.
func (b Beacon) Version(name string) (newest dataset.Ref, ok bool) {
	if name < b.From || b.To != "" && name >= b.To || slices.Contains(b.Unread, name) {
		return dataset.Ref{}, false
	}
	return dataset.Ref{Version: b.Newest[name], ID: b.IDs[name]}, true
}

// SendBeacon sends b to the instances of the namespace. b has no bounds, and is sent in as many messages as the limit of the
// connection makes it. It fails when there is no connection: an old beacon that waits to be sent would be worse than none. It also fails for a period that no instance would take.
func SendBeacon(nc *nats.Conn, namespace string, b Beacon) error {
	subjects, err := newSubjects(namespace)
	if err != nil {
		return fmt.Errorf("send a beacon: %w", err)
	}
	if err := checkPeriod(b.Every); err != nil {
		return fmt.Errorf("send a beacon: %w", err)
	}
	if !nc.IsConnected() {
		return fmt.Errorf("send a beacon: %w", nats.ErrDisconnected)
	}
	parts, err := b.parts(int(nc.MaxPayload()))
	for _, part := range parts {
		if err == nil {
			err = nc.Publish(subjects.beacon, part)
		}
	}
	if err != nil {
		return fmt.Errorf("send a beacon: %w", err)
	}
	return nil
}

// decodeBeacon returns the beacon that data is the JSON of.
func decodeBeacon(data []byte) (Beacon, error) {
	var b Beacon
	if err := json.Unmarshal(data, &b); err != nil {
		return Beacon{}, fmt.Errorf("%w: %w", ErrBeacon, err)
	}
	if err := checkPeriod(b.Every); err != nil {
		return Beacon{}, err
	}
	return b, nil
}

func checkPeriod(every time.Duration) error {
	if every < MinBeaconEvery || every > MaxBeaconEvery {
		return fmt.Errorf("%w: its period is %s; want %s to %s", ErrBeacon, every, MinBeaconEvery, MaxBeaconEvery)
	}
	return nil
}
