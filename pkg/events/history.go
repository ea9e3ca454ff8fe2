package events

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// heartbeat is the period of the server's heartbeats while it has no message to send. Two missed heartbeats are an error.
	// With the client's default of 5 s or more, a reader would stall for 10 s after the death of a leader.
	heartbeat = 500 * time.Millisecond
	fetchTime = 5 * time.Second
	fetchSize = 256
	// consumerIdle is the time after which the server removes a consumer that its reader could not delete.
	consumerIdle = 30 * time.Second
)

// Event is an event in the log.
type Event struct {
	Record dataset.VersionRecord
	// Sequence is the event's sequence in the stream, for inspecting the stream with other tools.
	Sequence uint64
	// Time is the time at which the stream stored the event, by the server's clock.
	Time time.Time
}

// History returns the events of the dataset from the given version on, in the order of the log, up to the end of the log at
// the start of the iteration. The iteration survives the loss of servers and of the connection until ctx ends, and never
// skips an event silently. It yields an [EventError] for an unreadable event, and continues. Every other error ends it:
// [ErrNoStream], [ErrRecreated], ctx's error, or one of the server.
func (l *Log) History(ctx context.Context, name string, from uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		r := reader{log: l, subject: l.subjects.of(name), yield: func(e Event, err error) bool {
			if err == nil && e.Record.Version < from {
				return true
			}
			return yield(e, err)
		}}
		err := dataset.CheckName(name)
		if err == nil {
			err = r.read(ctx)
		}
		if err != nil && !r.stopped {
			yield(Event{}, fmt.Errorf("read the history of %s: %w", name, err))
		}
	}
}

// reader is one iteration over the history of a dataset.
type reader struct {
	log     *Log
	subject string
	yield   func(Event, error) bool
	// created distinguishes the stream from a later one with the same name.
	created time.Time
	// next and end are the sequences of the next and of the last event to read.
	next, end uint64
	// stopped is true once yield has returned false.
	stopped bool
}

func (r *reader) read(ctx context.Context) error {
	if err := retry(ctx, func() error { return r.begin(ctx) }); err != nil {
		if noStream(err) {
			return ErrNoStream
		}
		return err
	}
	// An attempt that has made progress does not count as failed: the next one starts with a fresh backoff.
	for r.next <= r.end && !r.stopped {
		before := r.next
		err := retry(ctx, func() error {
			err := r.consume(ctx)
			if err != nil && r.next > before {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// begin determines the stream and the range of sequences to read.
func (r *reader) begin(ctx context.Context) error {
	info, err := r.log.info(ctx)
	if err != nil {
		return err
	}
	last, err := r.log.lastAtLeader(ctx, r.subject)
	if err != nil {
		return err
	}
	r.created, r.next, r.end = info.Created, 1, 0
	if last != nil {
		r.end = last.Sequence
	}
	return nil
}

// consume reads with one consumer, from next on. It returns nil at the end.
func (r *reader) consume(ctx context.Context) error {
	consumer, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer r.remove(ctx, consumer)
	pending := consumer.CachedInfo().NumPending
	var delivered uint64
	for pending > 0 && r.next <= r.end && !r.stopped {
		fetched, err := r.fetch(ctx, consumer, min(fetchSize, int(pending)), &delivered, &pending)
		if err != nil {
			return err
		}
		if fetched == 0 {
			return errors.New("the consumer had messages and sent none")
		}
	}
	if r.next > r.end || r.stopped {
		return nil
	}
	return r.confirmEnd(ctx)
}

// confirmEnd is called when a consumer has no more messages before the end. Either the last events have been deleted, or the
// consumer is on a replica that lags. The leader decides.
func (r *reader) confirmEnd(ctx context.Context) error {
	following, err := r.log.queryLeader(ctx, leaderRequest{Sequence: r.next, NextFor: r.subject})
	if err == nil && following != nil && following.Sequence <= r.end {
		return fmt.Errorf("the consumer does not see event %d yet", following.Sequence)
	}
	if err == nil {
		err = r.sameStream(ctx)
	}
	if err != nil {
		return err
	}
	r.next = r.end + 1
	return nil
}

// sameStream returns ErrRecreated unless the stream is still that of the start of the iteration.
func (r *reader) sameStream(ctx context.Context) error {
	info, err := r.log.info(ctx)
	if noStream(err) || err == nil && !info.Created.Equal(r.created) {
		return ErrRecreated
	}
	return err
}

// open creates a consumer on the stream of the start of the iteration. An ordered consumer would do this automatically, but
// on a stream that was created again it would continue at the old sequence and skip the events before it.
func (r *reader) open(ctx context.Context) (jetstream.Consumer, error) {
	create, cancel := r.log.attempt(ctx, requestTimeout)
	defer cancel()
	consumer, err := r.log.js.CreateConsumer(create, r.log.cfg.Stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       r.next,
		FilterSubject:     r.subject,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: consumerIdle,
		MemoryStorage:     true,
	})
	if noStream(err) {
		return nil, ErrRecreated
	}
	if err != nil {
		return nil, err
	}
	// If the stream is still the same now, then the consumer, created before, belongs to it.
	if err := r.sameStream(ctx); err != nil {
		r.remove(ctx, consumer)
		return nil, err
	}
	return consumer, nil
}

// remove deletes the consumer, also after the end of ctx. If that fails, the server does after consumerIdle.
func (r *reader) remove(ctx context.Context, consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeat)
	defer cancel()
	_ = r.log.js.DeleteConsumer(ctx, r.log.cfg.Stream, consumer.CachedInfo().Name)
}

// fetch reads up to size messages and returns their number. It updates delivered and pending, the consumer's counts.
func (r *reader) fetch(ctx context.Context, c jetstream.Consumer, size int, delivered, pending *uint64) (int, error) {
	ctx, cancel := r.log.attempt(ctx, fetchTime)
	batch, err := c.Fetch(size, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(heartbeat))
	if err != nil {
		cancel()
		return 0, err
	}
	defer func() {
		cancel()
		for range batch.Messages() { // ends the batch's goroutine
		}
	}()
	fetched := 0
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return fetched, err
		}
		if meta.Sequence.Consumer != *delivered+1 {
			return fetched, fmt.Errorf("message %d of the consumer follows %d", meta.Sequence.Consumer, *delivered)
		}
		fetched++
		*delivered, *pending = meta.Sequence.Consumer, meta.NumPending
		sequence := meta.Sequence.Stream
		if sequence > r.end {
			r.next = r.end + 1
			return fetched, nil
		}
		r.next = sequence + 1
		e := Event{Sequence: sequence, Time: meta.Timestamp}
		if e.Record, err = r.log.subjects.decode(m.Subject(), m.Data()); err != nil {
			err = &EventError{Dataset: r.log.subjects.nameOf(r.subject), Sequence: sequence, Err: err}
		}
		if !r.yield(e, err) {
			r.stopped = true
			return fetched, nil
		}
	}
	return fetched, batch.Error()
}
