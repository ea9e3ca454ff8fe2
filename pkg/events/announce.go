package events

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errTryAgain is why an attempt to announce ends without knowing; reading the last event back decides the next.
var errTryAgain = errors.New("the announcement is not in the log yet")

// Announce publishes the event of rec. It returns nil when the log holds that event, or one of a later version of
// the dataset in the same store: then there is nothing left to announce, and an event out of order would only be in the way. It
// creates the stream if it is missing, and at its first call mends the settings of one that is there as [Log.Ensure] does. If the
// stream is full it keeps fewer events of each dataset from then on. It is idempotent, and tries until ctx ends; the error then says that it is not
// known whether the event is in the log. [ErrConflict] and [ErrStream] are final, and so is an error that [OnlyThisVersion] reports.
//
// The server acknowledges before its disk has the event. A server that loses its power may lose it; announcing it
// again then puts it back, also within the window in which the stream takes it for a duplicate.
func (l *Log) Announce(ctx context.Context, rec dataset.VersionRecord) error {
	data, err := dataset.EncodeEvent(rec)
	if err != nil {
		return fmt.Errorf("announce version %s: %w", rec.ID(), err)
	}
	a := announcement{log: l, rec: rec, data: data}
	if err := retry(ctx, func() error { return a.try(ctx) }); err != nil {
		return fmt.Errorf("announce version %s: %w", rec.ID(), err)
	}
	return nil
}

// Supersede publishes the event of rec although the log ends with the event of over, a version that is not in the history of
// rec's store: the store was restored from an older copy, or created again. It is as Announce if the log ends otherwise.
func (l *Log) Supersede(ctx context.Context, rec, over dataset.VersionRecord) error {
	data, err := dataset.EncodeEvent(rec)
	if err != nil {
		return fmt.Errorf("announce version %s: %w", rec.ID(), err)
	}
	a := announcement{log: l, rec: rec, data: data, over: over.Ref()}
	if err := retry(ctx, func() error { return a.try(ctx) }); err != nil {
		return fmt.Errorf("announce version %s in place of %s: %w", rec.ID(), over.Ref(), err)
	}
	return nil
}

// OnlyThisVersion reports whether err of Announce is final for the announced version and says nothing about other versions: the event
// is larger than max_payload of the NATS server, or the record makes no event.
func OnlyThisVersion(err error) bool {
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, dataset.ErrEvent) || errors.Is(err, dataset.ErrVersionRecord)
}

// Last returns the record of the last version of the dataset that the log announces, the zero record if there is none. It asks as Announce does, so
// that whoever is told can announce: the stream's leader, until ctx ends. An event that cannot be read is an [*EventError].
func (l *Log) Last(ctx context.Context, name string) (rec dataset.VersionRecord, err error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.VersionRecord{}, fmt.Errorf("look up the newest version in the event log: %w", err)
	}
	subject := l.subjects.of(name)
	var last *jetstream.RawStreamMsg
	err = retry(ctx, func() (err error) {
		last, err = l.lastAtLeader(ctx, subject)
		if noStream(err) {
			return nil
		}
		return err
	})
	if err == nil && last != nil {
		if rec, err = l.subjects.decode(subject, last.Data); err != nil {
			err = &EventError{Dataset: name, Sequence: last.Sequence, Err: err}
		}
	}
	if err != nil {
		return dataset.VersionRecord{}, fmt.Errorf("look up the newest version of dataset %s in the event log: %w", name, err)
	}
	return rec, nil
}

// announcement is one call of Announce.
type announcement struct {
	log  *Log
	rec  dataset.VersionRecord
	data []byte
	// over is the version whose event this one supersedes; zero if it supersedes none.
	over dataset.Ref
	// duplicate is set when the stream took the event for a duplicate. If reading back then shows no such event, it
	// was lost while its id was remembered, and is published without the id.
	duplicate bool
}

// try looks at the last event of the dataset, and publishes after it and nothing else. No answer of the publish is
// taken for a failure, nor Duplicate for success: error 10071 and Duplicate can each mean that an earlier attempt,
// whose acknowledgement was lost, came through, or that it did not. What the leader holds decides, at the next try.
func (a *announcement) try(ctx context.Context) error {
	if !a.log.ensured.Load() || a.log.mayKeepMore() {
		if err := a.log.ensure(ctx); err != nil {
			return err
		}
	}
	subject := a.log.subjects.of(a.rec.Dataset)
	last, err := a.log.lastAtLeader(ctx, subject)
	if noStream(err) {
		err = a.log.ensure(ctx)
	}
	if err != nil {
		return err
	}
	var sequence uint64 // 0: the subject must be empty
	if last != nil {
		sequence = last.Sequence
		// An event that is not readable announces nothing: the new one goes after it.
		announced, err := dataset.DecodeEvent(last.Data)
		if err == nil && announced.Version >= a.rec.Version && (a.over.Version == 0 || announced.Ref() != a.over) {
			return a.agree(announced)
		}
	}

	ctx, cancel := a.log.attempt(ctx, requestTimeout)
	defer cancel()
	options := []jetstream.PublishOpt{
		jetstream.WithExpectStream(a.log.cfg.Stream),
		jetstream.WithExpectLastSequencePerSubject(sequence),
		jetstream.WithRetryAttempts(0),
	}
	if !a.duplicate {
		options = append(options, jetstream.WithMsgID(a.rec.VersionID().String()))
	}
	ack, err := a.log.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: a.data}, options...)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: the event has %d bytes, and max_payload of the NATS server is %d; raise max_payload, or publish with fewer or shorter labels",
			err, len(a.data), a.log.nc.MaxPayload())
	case err == nil && ack.Duplicate:
		a.duplicate = true
		return fmt.Errorf("%w: the stream knows its id", errTryAgain)
	case err == nil:
		return nil
	case overtaken(err):
		return fmt.Errorf("%w: %w", errTryAgain, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse): // it is gone, or does not listen to the subject
		return errors.Join(err, a.log.ensure(ctx))
	case full(err), has(err, messageTooLarge):
		return a.makeRoom(ctx, err)
	}
	return err
}

// makeRoom changes the stream so that the next try succeeds, or returns an ErrStream.
func (a *announcement) makeRoom(ctx context.Context, err error) error {
	if failed := a.log.makeRoom(ctx, err); failed != nil {
		return failed
	}
	return fmt.Errorf("%w: %s", errTryAgain, err) // as text: its code may say that it is for good
}

// agree returns ErrConflict if the log's last version, whose number is not below the announced one's, is not of its history. A later
// version of the same store is taken to follow: only the store tells otherwise.
func (a *announcement) agree(last dataset.VersionRecord) error {
	ours, theirs := a.rec.StoreID, last.StoreID
	otherStore := !ours.IsZero() && !theirs.IsZero() && ours != theirs
	if last.Ref() == a.rec.Ref() || last.Version > a.rec.Version && !otherStore {
		return nil
	}
	remedy := "give each store a FRESHET_NAMESPACE of its own, or a NATS, and restart the publishers"
	if ours == theirs && !ours.IsZero() {
		remedy = "two publishers use copies of one store: stop one of them, and publish again with the other"
	}
	return fmt.Errorf("%w: it ends with version %s, and the version to announce is %s; %s", ErrConflict, inStore(last), inStore(a.rec), remedy)
}

// inStore names the version of rec and its store.
func inStore(rec dataset.VersionRecord) string {
	if rec.StoreID.IsZero() {
		return rec.Ref().String() + " without a store id"
	}
	return rec.Ref().String() + " of store " + rec.StoreID.String()
}

// overtaken reports whether the stream refused a message because the subject's last one is another than expected, or
// because one with the same id is on its way through the cluster.
func overtaken(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant, duplicateConflict:
		return true
	}
	return false
}

// duplicateConflict is JSStreamDuplicateMessageConflict in the errors.json of nats-server; the client has no name for it.
const duplicateConflict jetstream.ErrorCode = 10158
