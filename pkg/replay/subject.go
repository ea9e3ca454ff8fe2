package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/timeline"
)

const (
	// DefaultRate is the default of SubjectInput.Rate, in events a second. MaxRate is the most.
	DefaultRate = 100
	MaxRate     = 100_000

	// flushAfter is how many events are sent before the server has to confirm them; flushEvery bounds the time.
	flushAfter = 64
	flushEvery = time.Second
	// flushWithin is how long the server may take to confirm.
	flushWithin = 5 * time.Second
)

// SubjectInput says which events to hand to which subject.
type SubjectInput struct {
	Dataset string
	// From and To are the first and the last version; 0 for the first and the newest. Since, in place of From, selects the versions that
	// are not older.
	From, To uint64
	Since    time.Time
	// Subject is the NATS subject, see [events.CheckReplaySubject].
	Subject string
	// Rate bounds the events a second; 0 means DefaultRate.
	Rate float64
	// DryRun says to send nothing.
	DryRun bool
	// Begun, if not nil, is called before the first event is sent. Confirmed, if not nil, is called whenever the server has confirmed events.
	Begun     func(Begun)
	Confirmed func(Sent)
	Audit
}

// Sent is how far a replay to a subject is.
type Sent struct {
	// Events is how many events the NATS server has confirmed. First and Last are their versions.
	Events uint64 `json:"events"`
	First  uint64 `json:"first,omitempty"`
	Last   uint64 `json:"last,omitempty"`
}

// Subject sends the events of the versions in order to the subject, and returns when the server has received them. A consumer has to
// subscribe before; NATS keeps nothing for it. The message of each event is that of [events.ReplayMessage].
//
// The error is an [ErrInput], [ErrUnknownDataset], [ErrUnknownVersion], [ErrRequestID], [ErrNATS] or one of the store, such as that of a
// damaged version record. The events before were sent; the result says how many.
func (r *Replayer) Subject(ctx context.Context, in SubjectInput) (Sent, error) {
	in.fill()
	in.Rate = cmp.Or(in.Rate, DefaultRate)
	if err := in.check(); err != nil {
		return Sent{}, fmt.Errorf("%w: %w", ErrInput, err)
	}
	newest, err := r.newest(ctx, in.Dataset)
	if err != nil {
		return Sent{}, err
	}
	if in.To == 0 {
		in.To = newest
	}
	if most := max(in.From, in.To); most > newest {
		return Sent{}, unknownVersion(in.Dataset, most, newest)
	}
	first, versions, err := r.span(ctx, in)
	if err != nil {
		return Sent{}, err
	}
	begun := Begun{RequestID: in.RequestID, First: first, Versions: versions}
	if versions > 0 {
		begun.Last = in.To
	}
	if !in.DryRun {
		if !r.deps.NATS.IsConnected() {
			return Sent{}, fmt.Errorf("%w: %w; nothing was sent", ErrNATS, nats.ErrDisconnected)
		}
		appended, err := r.record(ctx, in.Dataset, in.Audit, Entry{FromVersion: first, ToVersion: in.To, Since: in.Since, Subject: in.Subject})
		if err != nil {
			return Sent{}, err
		}
		begun.Entry, begun.Warnings = appended.Entry.Number, appended.Warnings
	}
	if in.Begun != nil {
		in.Begun(begun)
	}
	if in.DryRun || versions == 0 {
		return Sent{}, nil
	}
	s := &sending{
		SubjectInput: in, nc: r.deps.NATS, limiter: rate.NewLimiter(rate.Limit(in.Rate), 1), flushed: time.Now(),
		reconnects: r.deps.NATS.Stats().Reconnects, earlier: r.deps.NATS.LastError(),
	}
	err = r.send(ctx, s, first)
	r.cfg.Log.InfoContext(ctx, "replayed to a subject", "dataset", in.Dataset, "subject", in.Subject, "events", s.confirmed.Events, "first", s.confirmed.First,
		"last", s.confirmed.Last, "by", in.By, "reason", in.Reason, "request", in.RequestID)
	return s.confirmed, err
}

func (in SubjectInput) check() error {
	if err := events.CheckReplaySubject(in.Subject); err != nil {
		return err
	}
	switch {
	case in.From > 0 && !in.Since.IsZero():
		return errors.New("a first version and a time exclude each other; leave one of them out")
	case in.To > 0 && in.From > in.To:
		return fmt.Errorf("the versions go from %d to %d; want an ascending range", in.From, in.To)
	case !(in.Rate >= 0.01 && in.Rate <= MaxRate):
		return fmt.Errorf("the rate is %v events a second; want 0.01 to %d", in.Rate, MaxRate)
	}
	return in.Audit.check()
}

// errEnd ends a read of events.
var errEnd = errors.New("the end of the range")

// span returns the first version of the range, and how many versions it has.
func (r *Replayer) span(ctx context.Context, in SubjectInput) (first, versions uint64, err error) {
	if in.Since.IsZero() {
		first = max(in.From, 1)
		return first, in.To - first + 1, nil
	}
	_, _, err = timeline.NewReader(r.deps.Store).Read(ctx, timeline.Query{Dataset: in.Dataset, Since: in.Since}, func(e timeline.Event) error {
		if first = version(e); first > 0 {
			return errEnd
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, errEnd):
		return 0, 0, err
	case first == 0 || first > in.To:
		return 0, 0, nil
	}
	return first, in.To - first + 1, nil
}

// version returns the number of the version that e is about; 0 if it is about none.
func version(e timeline.Event) uint64 {
	switch {
	case e.Version != nil:
		return e.Version.Version
	case e.Damaged != nil:
		return e.Damaged.Version
	}
	return 0
}

// sending is the state of a Subject call.
type sending struct {
	SubjectInput
	nc        *nats.Conn
	limiter   *rate.Limiter
	sent      Sent // of which the last are not confirmed
	confirmed Sent
	flushed   time.Time
	// reconnects and earlier are the connection's reconnects and its last error before the first event.
	reconnects uint64
	earlier    error
}

// send sends the events from first to in.To.
func (r *Replayer) send(ctx context.Context, s *sending, first uint64) error {
	_, _, err := timeline.NewReader(r.deps.Store).Read(ctx, timeline.Query{Dataset: s.Dataset, FromVersion: first}, func(e timeline.Event) error {
		switch v := version(e); {
		case v == 0:
			return nil
		case v > s.To:
			return errEnd
		}
		return s.event(ctx, e)
	})
	if errors.Is(err, errEnd) {
		err = nil
	}
	if failed := s.flush(ctx); err == nil {
		err = failed
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; %d of %d events of %s were sent to %s, up to version %d, and confirmed; continue with the version after it", err,
		s.confirmed.Events, s.To-first+1, s.Dataset, s.Subject, s.confirmed.Last)
}

// event sends one event.
func (s *sending) event(ctx context.Context, e timeline.Event) error {
	if e.Damaged != nil {
		return fmt.Errorf("the record of version %d is damaged: %s", e.Damaged.Version, e.Damaged.Detail)
	}
	m, err := events.ReplayMessage(s.Subject, s.RequestID, *e.Version)
	if err != nil {
		return err
	}
	if most := s.nc.MaxPayload(); most > 0 && int64(m.Size()) > most {
		return fmt.Errorf("the event of version %d has %d bytes, and NATS takes messages of at most %d", e.Version.Version, m.Size(), most)
	}
	if err := s.limiter.Wait(ctx); err != nil {
		return err
	}
	if !s.nc.IsConnected() { // the client would keep the message for later, and it could not be counted
		return fmt.Errorf("%w: %w", ErrNATS, nats.ErrDisconnected)
	}
	if err := s.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("%w: %w", ErrNATS, err)
	}
	s.sent.Events++
	s.sent.Last = e.Version.Version
	if s.sent.First == 0 {
		s.sent.First = e.Version.Version
	}
	if s.sent.Events-s.confirmed.Events >= flushAfter || time.Since(s.flushed) >= flushEvery {
		return s.flush(ctx)
	}
	return nil
}

// flush waits until the server has confirmed what was sent. It fails if the server denied the subject.
func (s *sending) flush(ctx context.Context) error {
	s.flushed = time.Now()
	if s.sent == s.confirmed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	if !s.nc.IsConnected() {
		return fmt.Errorf("%w: %w", ErrNATS, nats.ErrDisconnected)
	}
	if err := s.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNATS, err)
	}
	if s.nc.Stats().Reconnects != s.reconnects {
		return fmt.Errorf("%w: the connection was lost before the server confirmed", ErrNATS)
	}
	if err := s.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) && err != s.earlier { //nolint:errorlint // the same error, not its kind
		return fmt.Errorf("%w: %w", ErrNATS, err)
	}
	s.confirmed = s.sent
	if s.Confirmed != nil {
		s.Confirmed(s.confirmed)
	}
	return nil
}
