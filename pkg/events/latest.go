package events

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/natsext"
)

// batchSubjects is the number of datasets in one request. The server refuses more than 1,024 results.
const batchSubjects = 512

// Latest returns the newest announced version of each of the named datasets that has one. Without a log the map is empty.
// Latest may return both a map and an error: the error joins an [EventError] for each dataset whose last event is
// unreadable, and the map has the other datasets.
//
// Latest sends two requests for any number of datasets up to 512: one to the leader, for the log's last sequence, and one
// for the last event of each dataset, which any replica may answer. If the replica's answer is incomplete or outdated, it
// queries the leader.
func (l *Log) Latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error) {
	latest := make(map[string]dataset.VersionRecord, len(names))
	for _, name := range names {
		if err := dataset.CheckName(name); err != nil {
			return latest, fmt.Errorf("catch up with the event log: %w", err)
		}
	}
	info, err := l.info(ctx)
	switch {
	case noStream(err):
		return latest, nil
	case err != nil:
		return latest, fmt.Errorf("catch up with the event log: %w", unanswered(ctx, err))
	case info.State.Msgs == 0:
		return latest, nil
	}

	var unreadable []error
	for len(names) > 0 {
		n := min(batchSubjects, len(names))
		messages, err := l.lastOfEach(ctx, names[:n], info)
		if err != nil {
			return latest, oneline.Join(append(unreadable, fmt.Errorf("catch up with the event log: %w", unanswered(ctx, err)))...)
		}
		for _, m := range messages {
			rec, err := l.subjects.decode(m.Subject, m.Data)
			if err != nil {
				unreadable = append(unreadable, &EventError{Dataset: l.subjects.nameOf(m.Subject), Sequence: m.Sequence, Err: err})
				continue
			}
			latest[rec.Dataset] = rec
		}
		names = names[n:]
	}
	return latest, oneline.Join(unreadable...)
}

// lastOfEach returns the last message of each dataset that has one, as of info or later.
func (l *Log) lastOfEach(ctx context.Context, names []string, info *jetstream.StreamInfo) ([]*jetstream.RawStreamMsg, error) {
	if info.Config.AllowDirect {
		// An error here is that of one replica, or of a server that is too old for the request. The leader decides.
		if messages, upTo, err := l.directLast(ctx, names); err == nil && upTo >= info.State.LastSeq {
			return messages, nil
		}
	}
	var messages []*jetstream.RawStreamMsg
	for _, name := range names {
		m, err := l.lastAtLeader(ctx, l.subjects.of(name))
		if err != nil {
			return nil, err
		}
		if m != nil {
			messages = append(messages, m)
		}
	}
	return messages, nil
}

// directLast queries one replica for the last message of each dataset. It returns the messages, and the replica's last
// sequence. An incomplete answer, because of the server's limits or the end of ctx, is an error. The protocol is in
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md.
func (l *Log) directLast(ctx context.Context, names []string) (messages []*jetstream.RawStreamMsg, upTo uint64, err error) {
	subjects := make([]string, len(names))
	for i, name := range names {
		subjects[i] = l.subjects.of(name)
	}
	request, err := json.Marshal(map[string][]string{"multi_last": subjects})
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := l.attempt(ctx, requestTimeout)
	defer cancel()
	replies, err := natsext.RequestMany(ctx, l.nc, "$JS.API.DIRECT.GET."+l.cfg.Stream, request)
	if err != nil {
		return nil, 0, err
	}
	for reply, err := range replies {
		if err != nil {
			return nil, 0, err
		}
		if status := reply.Header.Get("Status"); status != "" {
			upTo, err := endOfBatch(status, reply)
			return messages, upTo, err
		}
		sequence, err := strconv.ParseUint(reply.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil {
			return nil, 0, fmt.Errorf("a message without its sequence: %w", err)
		}
		messages = append(messages, &jetstream.RawStreamMsg{
			Subject: reply.Header.Get(jetstream.SubjectHeader), Sequence: sequence, Data: reply.Data,
		})
	}
	// The replies end without an error when ctx does.
	return nil, 0, fmt.Errorf("%d messages without the end of the batch: %w", len(messages), nats.ErrTimeout)
}

// endOfBatch parses the message that ends a batch.
func endOfBatch(status string, m *nats.Msg) (upTo uint64, err error) {
	description := m.Header.Get("Description")
	if status != "204" || description != "EOB" {
		return 0, fmt.Errorf("the answer ends with %s %s", status, description)
	}
	if pending := m.Header.Get("Nats-Num-Pending"); pending != "0" {
		return 0, fmt.Errorf("the answer lacks %s messages", pending)
	}
	return strconv.ParseUint(m.Header.Get("Nats-UpTo-Sequence"), 10, 64)
}
