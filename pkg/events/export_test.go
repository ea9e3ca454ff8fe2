package events

import (
	"context"
	"encoding/json"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Internals that the external tests of the package use.

// ErrBeacon is errBeacon.
var ErrBeacon = errBeacon

const (
	FetchSize     = fetchSize
	BatchSubjects = batchSubjects
)

func (l *Log) DirectLast(ctx context.Context, names []string) ([]*jetstream.RawStreamMsg, uint64, error) {
	return l.directLast(ctx, names)
}

func (l *Log) LastOfEach(ctx context.Context, names []string, info *jetstream.StreamInfo) ([]*jetstream.RawStreamMsg, error) {
	return l.lastOfEach(ctx, names, info)
}

// Coalesce returns what a listener has to send after it has received the messages and its caller has received nothing.
func (l *Listener) Coalesce(messages ...*nats.Msg) (records []dataset.VersionRecord, catchUp string) {
	s := &listening{Listener: l, pending: map[source]dataset.VersionRecord{}}
	for _, m := range messages {
		s.receive(m)
	}
	for len(s.queue) > 0 {
		_, rec, _ := s.offers()
		records = append(records, rec)
		s.sent(rec)
	}
	return records, s.catchUp
}

// UnreadableBeacons returns the number of messages that were no readable beacons.
func (l *Listener) UnreadableBeacons() uint64 { return l.unreadable.Load() }

// ReceiveBeacons returns what a listener has to send after it has received the beacons and its caller has received nothing.
func (l *Listener) ReceiveBeacons(beacons ...Beacon) Beacons {
	var messages [][]byte
	for _, b := range beacons {
		data, err := json.Marshal(b)
		if err != nil {
			panic(err)
		}
		messages = append(messages, data)
	}
	return l.ReceiveMessages(messages)
}

// ReceiveMessages is ReceiveBeacons for the messages of beacons.
func (l *Listener) ReceiveMessages(messages [][]byte) Beacons {
	s := &listening{Listener: l}
	for _, data := range messages {
		s.receiveBeacon(&nats.Msg{Data: data})
	}
	_, received := s.offerBeacons()
	return received
}

// Parts returns the messages that SendBeacon sends.
func (b Beacon) Parts(limit int) ([][]byte, error) { return b.parts(limit) }
