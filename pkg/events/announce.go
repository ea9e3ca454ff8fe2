package events

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errTryAgain ends an attempt to announce with an unknown outcome. The next attempt reads the last event and decides.
var errTryAgain = errors.New("the announcement is not in the log yet")

// Announce publishes the event of rec. It returns nil when the log holds that event, or one of a later version of the dataset
// in the same store, which makes the announcement unnecessary. Announce creates the stream if it is missing. Its first
// call corrects the settings of an existing one as [Log.Ensure] does. If the stream is full, Announce makes it keep fewer
// events of each dataset.
//
// Announce is idempotent. It retries until ctx ends; the error then says that the outcome is unknown. [ErrConflict],
// [ErrStream] and the errors that [OnlyThisVersion] reports are permanent.
//
// The server acknowledges an event before its disk has it, and may lose the event in a power failure. Another Announce
// restores the event, also within the window in which the stream considers it a duplicate.
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
// rec's store, because the store was restored from an older copy or created again. If the log ends with another event,
// Supersede does the same as Announce.
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

// OnlyThisVersion reports whether err, an error of Announce, is permanent for the announced version but does not concern other
// versions: the event is larger than max_payload of the NATS server, or the record has no valid event.
func OnlyThisVersion(err error) bool {
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, dataset.ErrEvent) || errors.Is(err, dataset.ErrVersionRecord)
}

// Last returns the record of the last version of the dataset in the log, or the zero record if there is none. Like Announce
// it queries the stream's leader, and retries until ctx ends. An unreadable event is an [*EventError].
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
	// over is the version that this one supersedes; zero if there is none.
	over dataset.Ref
	// duplicate is true once the stream has refused the event as a duplicate. If the log then lacks the event, the stream has
	// lost it and still remembers its id; the next attempt publishes without the id.
	duplicate bool
}

// try reads the last event of the dataset, and publishes with its sequence as the expected one. A missing
// acknowledgement does not mean failure, and Duplicate does not mean success: after a lost acknowledgement, Duplicate and
// error 10071 can mean either. The next attempt reads the last event at the leader, which decides.
func (a *announcement) try(ctx context.Context) error {
	if !a.log.ensured.Load() || a.log.mayGrow() {
		if err := a.log.ensure(ctx); err != nil {
			return err
		}
	}
	last, err := a.log.lastAtLeader(ctx, a.log.subjects.of(a.rec.Dataset))
	if noStream(err) {
		err = a.log.ensure(ctx)
	}
	if err != nil {
		return err
	}
	var sequence uint64 // 0: the subject must be empty
	if last != nil {
		sequence = last.Sequence
		// An unreadable event announces nothing: the new one follows it.
		if announced, err := dataset.DecodeEvent(last.Data); err == nil && a.unnecessary(announced) {
			return a.agree(announced)
		}
	}
	ctx, cancel := a.log.attempt(ctx, requestTimeout)
	defer cancel()
	return a.prepareRetry(ctx, a.publish(ctx, sequence))
}

// unnecessary reports whether the event must not follow that of last, the log's last version.
func (a *announcement) unnecessary(last dataset.VersionRecord) bool {
	return last.Version >= a.rec.Version && (a.over.Version == 0 || last.Ref() != a.over)
}

// publish sends the event, which the stream refuses unless the subject's last event has the given sequence.
func (a *announcement) publish(ctx context.Context, sequence uint64) error {
	options := []jetstream.PublishOpt{
		jetstream.WithExpectStream(a.log.cfg.Stream),
		jetstream.WithExpectLastSequencePerSubject(sequence),
		jetstream.WithRetryAttempts(0),
	}
	if !a.duplicate {
		options = append(options, jetstream.WithMsgID(a.rec.VersionID().String()))
	}
	ack, err := a.log.js.PublishMsg(ctx, &nats.Msg{Subject: a.log.subjects.of(a.rec.Dataset), Data: a.data}, options...)
	if err == nil && ack.Duplicate {
		a.duplicate = true
		err = fmt.Errorf("%w: the stream knows its id", errTryAgain)
	}
	return err
}

// prepareRetry returns err, an error of publish, as an error that is permanent or not. Before a retry that needs it, it repairs
// the stream or frees space.
func (a *announcement) prepareRetry(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: the event has %d bytes, and max_payload of the NATS server is %d; raise max_payload, or publish with fewer or shorter labels",
			err, len(a.data), a.log.nc.MaxPayload())
	case overtaken(err):
		return fmt.Errorf("%w: %w", errTryAgain, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse): // the stream is gone, or lacks the subject
		return oneline.Join(err, a.log.ensure(ctx))
	case full(err), has(err, messageTooLarge):
		return a.freeSpace(ctx, err)
	}
	return err
}

// freeSpace changes the stream so that the next attempt succeeds, or returns an ErrStream.
func (a *announcement) freeSpace(ctx context.Context, err error) error {
	if failed := a.log.freeSpace(ctx, err); failed != nil {
		return failed
	}
	return fmt.Errorf("%w: %s", errTryAgain, err) // as text: the code could make the error permanent
}

// agree returns ErrConflict if last, the log's last version, is not in the history of the announced one. The number of last is
// not lower. agree assumes that a later version of the same store is in the history: only the store could show otherwise.
func (a *announcement) agree(last dataset.VersionRecord) error {
	ours, theirs := a.rec.StoreID, last.StoreID
	otherStore := !ours.IsZero() && !theirs.IsZero() && ours != theirs
	if last.Ref() == a.rec.Ref() || last.Version > a.rec.Version && !otherStore {
		return nil
	}
	remedy := "give each store its own FRESHET_NAMESPACE or NATS, and restart the publishers"
	if ours == theirs && !ours.IsZero() {
		remedy = "two publishers use copies of one store: stop one of them, and publish again with the other"
	}
	return fmt.Errorf("%w: it ends with version %s, and the version to announce is %s; %s", ErrConflict, inStore(last), inStore(a.rec), remedy)
}

// inStore returns the version of rec and its store, for an error.
func inStore(rec dataset.VersionRecord) string {
	if rec.StoreID.IsZero() {
		return rec.Ref().String() + " without a store id"
	}
	return rec.Ref().String() + " of store " + rec.StoreID.String()
}

// overtaken reports whether the stream refused a message because the subject's last sequence is not the expected one, or
// because a message with the same id is in flight in the cluster.
func overtaken(err error) bool {
	return has(err, jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant, duplicateConflict)
}

// duplicateConflict is JSStreamDuplicateMessageConflict in the errors.json of nats-server; the client does not name it.
const duplicateConflict jetstream.ErrorCode = 10158
