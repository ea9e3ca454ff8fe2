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
	// DefaultBeaconEvery is the default period of a publisher's beacons. An instance also assumes it before it has received
	// a beacon.
	DefaultBeaconEvery = 5 * time.Second
	// MinBeaconEvery and MaxBeaconEvery bound the period. With a longer one an instance takes hours to notice that it
	// is blind.
	MinBeaconEvery = 100 * time.Millisecond
	MaxBeaconEvery = time.Hour
	// BlindAfter is the number of periods without a beacon after which an instance is blind.
	BlindAfter = 3
)

// errBeacon is wrapped by the errors about a message or a period that is not valid in a beacon.
var errBeacon = errors.New("not a beacon")

// Beacon reports the newest committed version of each dataset, as its sender has just read it from the store. From beacons,
// an instance detects that it has missed an event, or that it would not receive one.
type Beacon struct {
	// Publisher identifies the sender, for display.
	Publisher string    `json:"publisher"`
	Sent      time.Time `json:"sent"`
	// Every is the period of the sender's beacons, in nanoseconds.
	Every time.Duration `json:"every_ns"`
	// From and To bound the names that this message covers, from From on and before To; empty means no bound. The beacon of a
	// store with many datasets consists of several messages.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Store is the id of the sender's store; zero from a publisher of the releases before store ids.
	Store dataset.StoreID `json:"store,omitzero"`
	// Newest has the newest version of each dataset. A dataset within the bounds that is absent here has no version.
	Newest map[string]uint64 `json:"newest"`
	// IDs has the ids of these versions.
	IDs map[string]dataset.VersionID `json:"ids,omitempty"`
	// Journal has the number of the newest journal entry of datasets that have a journal. A dataset may be absent in some beacons, because
	// a beacon of a store with many journals reads only some of them again. Releases before pins neither send nor read it.
	Journal map[string]uint64 `json:"journal,omitempty"`
	// Unread names datasets whose newest version could not be read. The beacon does not cover them.
	Unread []string `json:"unread,omitempty"`
}

// Version returns the newest version of the dataset, zero if it has none. ok is false if the beacon does not cover the
// dataset.
func (b Beacon) Version(name string) (newest dataset.Ref, ok bool) {
	if name < b.From || b.To != "" && name >= b.To || slices.Contains(b.Unread, name) {
		return dataset.Ref{}, false
	}
	return dataset.Ref{Version: b.Newest[name], ID: b.IDs[name]}, true
}

// SendBeacon sends b to the instances of the namespace. b must not have bounds: SendBeacon splits it into as many messages as
// the limit of the connection requires. It fails without a connection, because a beacon that waits for one would be
// outdated. It also fails for a period outside of MinBeaconEvery and MaxBeaconEvery, which instances refuse.
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

// decodeBeacon decodes and checks a beacon.
func decodeBeacon(data []byte) (Beacon, error) {
	var b Beacon
	if err := json.Unmarshal(data, &b); err != nil {
		return Beacon{}, fmt.Errorf("%w: %w", errBeacon, err)
	}
	if err := checkPeriod(b.Every); err != nil {
		return Beacon{}, err
	}
	return b, nil
}

func checkPeriod(every time.Duration) error {
	if every < MinBeaconEvery || every > MaxBeaconEvery {
		return fmt.Errorf("%w: the period is %s; want %s to %s", errBeacon, every, MinBeaconEvery, MaxBeaconEvery)
	}
	return nil
}
