package events

import (
	"context"
	"encoding/json"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What the tests of the package look at from outside.

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

// Coalesce returns what a listener has to send after it received the messages while nobody took anything.
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

// Hear returns what a listener has to send after it received the beacons while nobody took anything.
func (l *Listener) Hear(beacons ...Beacon) Beacons {
	var messages [][]byte
	for _, b := range beacons {
		data, err := json.Marshal(b)
		if err != nil {
			panic(err)
		}
		messages = append(messages, data)
	}
	return l.HearMessages(messages)
}

// HearMessages is Hear for beacons as they are sent.
func (l *Listener) HearMessages(messages [][]byte) Beacons {
	s := &listening{Listener: l}
	for _, data := range messages {
		s.hear(&nats.Msg{Data: data})
	}
	_, heard := s.offerHeard()
	return heard
}

// Parts returns the messages that SendBeacon sends.
func (b Beacon) Parts(most int) ([][]byte, error) { return b.parts(most) }
