package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

// ErrClosed is returned by Listener.Run when the connection was closed for good.
var ErrClosed = errors.New("the connection to NATS is closed")

const (
	// defaultBuffer is far more than comes while the Listener's goroutine waits for a processor: it does nothing that
	// can block.
	defaultBuffer = 4096
	// maxSubscriptions is the most datasets that are subscribed to one by one. Above, one wildcard costs the server
	// less than the subscriptions, and the events of other datasets cost us less, too.
	maxSubscriptions = 64
	// flushAgain is when a flush that failed on a living connection is tried again.
	flushAgain = 250 * time.Millisecond
	// dropSettles is how long after the last event it is counted once more what was dropped: the client finds the buffer full,
	// and counts a moment later, when the buffer may have been drained and nothing else come.
	dropSettles = 100 * time.Millisecond
)

// ListenerConfig configures a Listener. Its zero value is good.
type ListenerConfig struct {
	// Namespace is that of the event log, see [Config].
	Namespace string
	// Buffer is how many events may wait to be read before some are dropped and a catch-up is asked for; 4,096 if 0.
	Buffer int
	// Log is where to say what is wrong with beacons; nil means nowhere.
	Log *slog.Logger
}

// Listener gives the live events of some datasets, and what beacons say of them. All its channels are served by the one
// goroutine that runs Run, and hold nothing back that is outdated: of several versions of a dataset only the highest of each
// store waits, because a version of another store must not hide one of the caller's; of several reasons to catch up only the first, of several beacons what they say together.
type Listener struct {
	nc       *nats.Conn
	subjects subjects
	names    map[string]bool
	buffer   int
	log      *slog.Logger

	versions   chan dataset.VersionRecord
	catchUps   chan string
	beacons    chan Beacons
	asyncErr   chan error
	denied     chan error    // that of the subscription to beacons, which must not be lost beside others
	unreadable atomic.Uint64 // beacons
}

// NewListener returns a listener to the events of the named datasets on nc. It starts nothing. It puts itself before
// the connection's handler of asynchronous errors, for the life of the connection: make one Listener a connection.
func NewListener(nc *nats.Conn, names []string, cfg ListenerConfig) (*Listener, error) {
	subjects, err := newSubjects(cfg.Namespace)
	if err != nil {
		return nil, fmt.Errorf("listen to events: %w", err)
	}
	if cfg.Buffer < 0 {
		return nil, fmt.Errorf("listen to events: a buffer of %d", cfg.Buffer)
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = defaultBuffer
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Listener{
		nc: nc, subjects: subjects, names: make(map[string]bool, len(names)), buffer: cfg.Buffer, log: cfg.Log,
		versions: make(chan dataset.VersionRecord), catchUps: make(chan string), beacons: make(chan Beacons),
		asyncErr: make(chan error, 1), denied: make(chan error, 1),
	}
	for _, name := range names {
		if err := dataset.CheckName(name); err != nil {
			return nil, fmt.Errorf("listen to events: %w", err)
		}
		l.names[name] = true
	}
	next := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if next != nil {
			next(nc, sub, err)
		}
		if errors.Is(err, nats.ErrSlowConsumer) {
			return // counted by the goroutine itself, which alone knows when it is over
		}
		to := l.asyncErr
		if subjects.beaconDenied(err) {
			to = l.denied
		}
		select {
		case to <- err:
		default: // one that waits already asks for the same
		}
	})
	return l, nil
}

// Versions returns the channel of announced versions: of each dataset and store the highest that came in since the last one
// was received. The order is the caller's business: a version may be sent that it has, or one below.
func (l *Listener) Versions() <-chan dataset.VersionRecord { return l.versions }

// CatchUps returns the channel that asks the caller to catch up with [Log.Latest], because events may have been
// missed, and says why. When it does, the subscriptions are in force: no event falls between them and the catch-up.
func (l *Listener) CatchUps() <-chan string { return l.catchUps }

// Run subscribes and serves the channels until ctx ends, and then returns nil. It returns an error if it can do no more:
// [ErrClosed], or a subscription to events that the server does not permit. Without the permission to hear beacons it goes
// on, and says so in [Beacons]. It may be run again afterwards, but not twice at a time. A connection that is down is no
// error: it waits.
func (l *Listener) Run(ctx context.Context) error {
	for _, earlier := range []chan error{l.asyncErr, l.denied} { // of an earlier Run
		select {
		case <-earlier:
		default:
		}
	}
	// Before the subscriptions, so that no reconnect falls between.
	status := l.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer l.nc.RemoveStatusListener(status)

	s := &listening{
		Listener: l, messages: make(chan *nats.Msg, l.buffer), pending: map[source]dataset.VersionRecord{},
		beaconMessages: make(chan *nats.Msg, beaconBuffer),
	}
	defer s.unsubscribe()
	if err := s.subscribe(); err != nil {
		return err
	}
	if err := s.listenToBeacons(); err != nil {
		return err
	}
	s.ask("start", true)
	settled := time.NewTimer(dropSettles)
	defer settled.Stop()
	for {
		s.flush(ctx)
		versions, version, catchUps := s.offers()
		beacons, heard := s.offerHeard()
		select {
		case m := <-s.messages:
			s.receive(m)
			settled.Reset(dropSettles)
		case <-settled.C: // to count what was dropped
		case m := <-s.beaconMessages:
			s.hear(m)
		case err := <-l.denied:
			s.deaf(err)
		case beacons <- heard:
			s.heard = Beacons{}
		case st := <-status:
			if st == nats.CLOSED {
				return ErrClosed
			}
			s.ask("reconnected", true)
			s.retryFlush = nil
		case err := <-l.asyncErr:
			if l.subjects.denied(err) {
				return fmt.Errorf("listen to events: the server does not let this user subscribe to %s<dataset>: %w", l.subjects.versions, err)
			}
			s.ask(fmt.Sprintf("NATS reports an error: %v", err), false)
		case <-s.retryFlush:
			s.retryFlush = nil
		case versions <- version:
			s.sent(version)
		case catchUps <- s.catchUp:
			s.catchUp = ""
		case <-ctx.Done():
			return nil
		}
		if len(s.messages) == 0 {
			s.countDropped()
		}
	}
}

// denied reports whether err says that the server refused one of our subscriptions. It has no more than text to say so.
func (s subjects) denied(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `Subscription to "`+s.versions)
}

// source is what a version is of.
type source struct {
	dataset string
	store   dataset.StoreID // zero: an earlier release names none
}

// listening is the state of one Run, of its goroutine alone.
type listening struct {
	*Listener
	subscriptions []*nats.Subscription // to events
	messages      chan *nats.Msg
	dropped       int // by all subscriptions to events, as counted so far
	// Beacons have a channel of their own, so that a flood of events drops none.
	beaconSubscription *nats.Subscription
	beaconMessages     chan *nats.Msg
	heard              Beacons // waits to be received
	// pending has the versions that wait to be received, queue their keys in the order in which they came.
	pending map[source]dataset.VersionRecord
	queue   []source
	// catchUp is why a catch-up is asked for, unflushed why one is to be once the server has the subscriptions.
	catchUp, unflushed string
	retryFlush         <-chan time.Time
}

func (s *listening) subscribe() error {
	subjects := []string{s.subjects.of("*")}
	if len(s.names) <= maxSubscriptions {
		subjects = subjects[:0]
		for name := range s.names {
			subjects = append(subjects, s.subjects.of(name))
		}
	}
	for _, subject := range subjects {
		sub, err := s.nc.ChanSubscribe(subject, s.messages)
		if errors.Is(err, nats.ErrConnectionClosed) {
			return ErrClosed
		}
		if err != nil {
			return fmt.Errorf("listen to events: subscribe to %s: %w", subject, err)
		}
		s.subscriptions = append(s.subscriptions, sub)
	}
	return nil
}

func (s *listening) unsubscribe() {
	for _, sub := range append(s.subscriptions, s.beaconSubscription) {
		_ = sub.Unsubscribe() // fails only when there is none, or when the connection is gone and the subscription with it
	}
}

// ask asks for a catch-up, if flush so once the server has confirmed the subscriptions.
func (s *listening) ask(why string, flush bool) {
	if flush {
		s.unflushed = why
	} else if s.catchUp == "" {
		s.catchUp = why
	}
}

// flush waits for the server to confirm the subscriptions, if that is due and there is a connection. Without one it
// is done when the connection is there. The client subscribes again before it lets anyone flush.
func (s *listening) flush(ctx context.Context) {
	if s.unflushed == "" || s.retryFlush != nil || !s.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := s.nc.FlushWithContext(ctx); err != nil {
		s.retryFlush = time.After(flushAgain)
		return
	}
	s.ask(s.unflushed, false)
	s.unflushed = ""
}

// receive takes in a live event.
func (s *listening) receive(m *nats.Msg) {
	name := s.subjects.nameOf(m.Subject)
	if !s.names[name] {
		return // the wildcard's
	}
	rec, err := s.subjects.decode(m.Subject, m.Data)
	if err != nil {
		s.ask(fmt.Sprintf("an event on %s is not readable: %v", m.Subject, err), false)
		return
	}
	of := source{name, rec.StoreID}
	waiting, ok := s.pending[of]
	if !ok && len(s.queue) >= s.buffer+len(s.names) {
		s.ask("events of many stores wait", false) // messages may name any number of stores
		return
	}
	if !ok {
		s.queue = append(s.queue, of)
	}
	if !ok || waiting.Version < rec.Version {
		s.pending[of] = rec
	}
}

// countDropped asks for a catch-up if events were dropped. It is called when the buffer is drained, and
// once more when nothing has come for dropSettles: the client drops only into a full buffer, so whatever it drops later is
// counted when the buffer is drained again. Its own report of a slow consumer comes once for a series of drops, which may
// end after the catch-up.
func (s *listening) countDropped() {
	total := 0
	for _, sub := range s.subscriptions {
		if n, err := sub.Dropped(); err == nil {
			total += n
		}
	}
	if n := total - s.dropped; n > 0 {
		s.ask(fmt.Sprintf("%d events came too fast and were dropped", n), false)
	}
	s.dropped = total
}

// offers returns what a select offers: the channels are nil while there is nothing to send.
func (s *listening) offers() (versions chan<- dataset.VersionRecord, version dataset.VersionRecord, catchUps chan<- string) {
	if len(s.queue) > 0 {
		versions, version = s.versions, s.pending[s.queue[0]]
	}
	if s.catchUp != "" {
		catchUps = s.catchUps
	}
	return versions, version, catchUps
}

func (s *listening) sent(rec dataset.VersionRecord) {
	s.queue = s.queue[1:]
	delete(s.pending, source{rec.Dataset, rec.StoreID})
}
