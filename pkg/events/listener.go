package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

// ErrClosed is returned by Listener.Run when the connection has been closed.
var ErrClosed = errors.New("the connection to NATS is closed")

const (
	// defaultBuffer is far more than the events that arrive while the Listener's goroutine waits for a processor; it never
	// blocks otherwise.
	defaultBuffer = 4096
	// maxSubscriptions bounds the number of datasets with a subscription each. For more, one wildcard is cheaper, both for the
	// server and for the instance that then receives the events of other datasets.
	maxSubscriptions = 64
	// flushAgain is the pause after a flush that failed on a live connection.
	flushAgain = 250 * time.Millisecond
	// dropSettles is the pause after the last event before dropped events are counted once more. The client finds the buffer
	// full and counts a moment later, when the buffer may be empty and no further event arrives.
	dropSettles = 100 * time.Millisecond
)

// ListenerConfig configures a Listener. The zero value is valid.
type ListenerConfig struct {
	// Namespace is the namespace of the event log, see [Config].
	Namespace string
	// Buffer is the number of events that may be queued before the Listener drops some and requests a catch-up; 0 means 4,096.
	Buffer int
	// Entries makes the Listener receive journal entries too. The caller must then receive from Listener.Entries.
	Entries bool
	// Log receives warnings about unreadable beacons; nil discards them.
	Log *slog.Logger
}

// Listener receives the live events and the beacons of some datasets. The goroutine of Run serves its channels. A channel
// never holds outdated values:
//
//   - of several versions of a dataset, only the highest of each store is pending. A version of another store must not
//     hide one of the caller's;
//   - of several reasons for a catch-up, only the first is pending;
//   - several beacons are merged.
type Listener struct {
	nc       *nats.Conn
	subjects subjects
	names    map[string]bool
	buffer   int
	log      *slog.Logger

	versions    chan dataset.VersionRecord
	entries     chan dataset.Entry
	withEntries bool // subscribe to journal entries
	catchUps    chan string
	beacons     chan Beacons
	asyncErr    chan error
	denied      chan error    // for the subscription to beacons; other errors must not displace it
	unreadable  atomic.Uint64 // messages that were no readable beacons
}

// NewListener returns a Listener for the named datasets on nc. It starts nothing. It wraps the connection's handler of
// asynchronous errors for the life of the connection: create only one Listener for each connection.
func NewListener(nc *nats.Conn, names []string, cfg ListenerConfig) (*Listener, error) {
	subjects, err := newSubjects(cfg.Namespace)
	if err != nil {
		return nil, fmt.Errorf("listen to events: %w", err)
	}
	if cfg.Buffer < 0 {
		return nil, fmt.Errorf("listen to events: Buffer (%d) must not be negative", cfg.Buffer)
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = defaultBuffer
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Listener{
		nc: nc, subjects: subjects, names: make(map[string]bool, len(names)), buffer: cfg.Buffer, log: cfg.Log,
		versions: make(chan dataset.VersionRecord), entries: make(chan dataset.Entry), withEntries: cfg.Entries, catchUps: make(chan string), beacons: make(chan Beacons),
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
			return // countDropped counts dropped events, after the last of a series
		}
		to := l.asyncErr
		if subjects.beaconDenied(err) {
			to = l.denied
		}
		select {
		case to <- err:
		default: // the pending error has the same effect
		}
	})
	return l, nil
}

// Versions returns the channel of announced versions: of each dataset and store the highest since the last receive. A version
// may be one that the caller already has, or a lower one.
func (l *Listener) Versions() <-chan dataset.VersionRecord { return l.versions }

// CatchUps returns the channel of requests to catch up with [Log.Latest], because events may have been missed. The value is
// the reason. When the caller receives a request, the subscriptions are active: no event falls between them and the
// catch-up.
func (l *Listener) CatchUps() <-chan string { return l.catchUps }

// Run subscribes and serves the channels until ctx ends, and then returns nil. It returns an error if it cannot continue:
// [ErrClosed], or a subscription to events that the server does not permit. Without the permission to subscribe to beacons
// it continues, and reports that in [Beacons]. After Run has returned, it may be called again. A connection that is down is
// not an error: Run waits for it.
func (l *Listener) Run(ctx context.Context) error {
	l.discardErrors()
	// Before the subscriptions, so that Run sees every reconnect after them.
	status := l.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer l.nc.RemoveStatusListener(status)

	s := &listening{
		Listener: l, status: status, messages: make(chan *nats.Msg, l.buffer), pending: map[source]dataset.VersionRecord{}, pendingEntries: map[source]dataset.Entry{},
		beaconMessages: make(chan *nats.Msg, beaconBuffer), settled: time.NewTimer(dropSettles),
	}
	defer s.settled.Stop()
	defer s.unsubscribe()
	if err := s.subscribe(); err != nil {
		return err
	}
	if err := s.subscribeToBeacons(); err != nil {
		return err
	}
	s.requestCatchUp("start", true)
	for {
		s.flush(ctx)
		if done, err := s.next(ctx); done || err != nil {
			return err
		}
		if len(s.messages) == 0 {
			s.countDropped()
		}
	}
}

// discardErrors discards the errors that an earlier Run has not received.
func (l *Listener) discardErrors() {
	for _, earlier := range []chan error{l.asyncErr, l.denied} {
		select {
		case <-earlier:
		default:
		}
	}
}

// denied reports whether err says that the server refused a subscription to events. The error has no more than text for it.
func (s subjects) denied(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `Subscription to "`+s.versions)
}

// source is the dataset and the store of a version.
type source struct {
	dataset string
	store   dataset.StoreID // zero for releases before store ids
}

// listening is the state of one Run. Only its goroutine uses it.
type listening struct {
	*Listener
	status        chan nats.Status
	subscriptions []*nats.Subscription // to events
	messages      chan *nats.Msg
	dropped       int // events dropped by all subscriptions, as of the last count
	settled       *time.Timer
	// Beacons have a separate channel, so that a flood of events does not drop them.
	beaconSubscription *nats.Subscription
	beaconMessages     chan *nats.Msg
	received           Beacons // not yet received by the caller
	// pending has the versions that the caller has not received, queue their keys in the order of arrival.
	pending map[source]dataset.VersionRecord
	queue   []source
	// pendingEntries and entryQueue are the same for journal entries.
	pendingEntries map[source]dataset.Entry
	entryQueue     []source
	// catchUp is the reason of the pending request for a catch-up, unflushed that of the next one, which flush makes
	// pending once the server has confirmed the subscriptions.
	catchUp, unflushed string
	retryFlush         <-chan time.Time
}

// next handles one event: an input from NATS, a receive by the caller, or a timer. done reports that ctx has ended.
func (s *listening) next(ctx context.Context) (done bool, err error) {
	versions, version, catchUps := s.offers()
	beacons, received := s.offerBeacons()
	entries, entry := s.offerEntry()
	select {
	case m := <-s.messages:
		s.receive(m)
		s.settled.Reset(dropSettles)
	case <-s.settled.C: // Run counts the dropped events
	case m := <-s.beaconMessages:
		s.receiveBeacon(m)
	case err := <-s.denied:
		s.beaconsDenied(err)
	case status := <-s.status:
		return false, s.changed(status)
	case err := <-s.asyncErr:
		return false, s.failed(err)
	case <-s.retryFlush:
		s.retryFlush = nil
	case versions <- version:
		s.sent(version)
	case entries <- entry:
		s.sentEntry(entry)
	case catchUps <- s.catchUp:
		s.catchUp = ""
	case beacons <- received:
		s.received = Beacons{}
	case <-ctx.Done():
		return true, nil
	}
	return false, nil
}

// changed handles a new status of the connection.
func (s *listening) changed(status nats.Status) error {
	if status == nats.CLOSED {
		return ErrClosed
	}
	s.requestCatchUp("reconnected", true)
	s.retryFlush = nil
	return nil
}

// failed handles an asynchronous error of the connection.
func (s *listening) failed(err error) error {
	if s.subjects.denied(err) {
		return fmt.Errorf("listen to events: the server does not let this user subscribe to %s<dataset>: %w", s.subjects.versions, err)
	}
	s.requestCatchUp(fmt.Sprintf("NATS reports an error: %v", err), false)
	return nil
}

// subscribe subscribes to the events and the journal entries of the datasets. Both arrive in one channel, so that their order is kept.
func (s *listening) subscribe() error {
	var subjects []string
	names := slices.Collect(maps.Keys(s.names))
	if len(names) > maxSubscriptions {
		names = []string{"*"}
	}
	for _, name := range names {
		if s.withEntries {
			subjects = append(subjects, s.subjects.ofJournal(name))
		}
		subjects = append(subjects, s.subjects.of(name))
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
		_ = sub.Unsubscribe() // fails only for nil, or with the connection gone and the subscription with it
	}
}

// requestCatchUp requests a catch-up. If flush is true, the request waits until the server has confirmed the subscriptions.
func (s *listening) requestCatchUp(reason string, flush bool) {
	if flush {
		s.unflushed = reason
	} else if s.catchUp == "" {
		s.catchUp = reason
	}
}

// flush waits for the server to confirm the subscriptions, if a catch-up needs that. Without a connection it does nothing;
// Run calls it again when the connection is up. After a reconnect the client subscribes again before any flush.
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
	s.requestCatchUp(s.unflushed, false)
	s.unflushed = ""
}

// receive handles a live event.
func (s *listening) receive(m *nats.Msg) {
	if strings.HasPrefix(m.Subject, s.subjects.journal) {
		s.receiveEntry(m)
		return
	}
	name := s.subjects.nameOf(m.Subject)
	if !s.names[name] {
		return // another dataset, due to the wildcard
	}
	if m.Header.Get(ReplayHeader) != "" {
		return // an old event that was handed to another subject
	}
	rec, err := s.subjects.decode(m.Subject, m.Data)
	if err != nil {
		s.requestCatchUp(fmt.Sprintf("an event on %s is not readable: %v", m.Subject, err), false)
		return
	}
	of := source{name, rec.StoreID}
	pending, ok := s.pending[of]
	if !ok && len(s.queue) >= s.buffer+len(s.names) {
		s.requestCatchUp("events of too many stores", false) // messages may name any number of stores
		return
	}
	if !ok {
		s.queue = append(s.queue, of)
	}
	if !ok || pending.Version < rec.Version {
		s.pending[of] = rec
	}
}

// countDropped requests a catch-up if events have been dropped. Run calls it when the buffer is empty, and once more after
// dropSettles without an event. The client drops events only while the buffer is full, so later drops are counted when the
// buffer is empty again. The client's own error about a slow consumer is of no use: it reports a series of drops once,
// and the series may end after the catch-up.
func (s *listening) countDropped() {
	total := 0
	for _, sub := range s.subscriptions {
		if n, err := sub.Dropped(); err == nil {
			total += n
		}
	}
	if n := total - s.dropped; n > 0 {
		s.requestCatchUp(fmt.Sprintf("%d events arrived too fast and were dropped", n), false)
	}
	s.dropped = total
}

// offers returns the channels and the values to send. A channel is nil while there is nothing to send.
func (s *listening) offers() (versions chan<- dataset.VersionRecord, version dataset.VersionRecord, catchUps chan<- string) {
	if len(s.queue) > 0 && len(s.entryQueue) == 0 {
		versions, version = s.versions, s.pending[s.queue[0]]
	}
	if s.catchUp != "" {
		catchUps = s.catchUps
	}
	return versions, version, catchUps
}

// sent removes a version that the caller has received.
func (s *listening) sent(rec dataset.VersionRecord) {
	s.queue = s.queue[1:]
	delete(s.pending, source{rec.Dataset, rec.StoreID})
}
