package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

// Watcher reports which datasets have a new version or journal entry, for a program that then reads the store. It does not say what is
// new: a message may arrive twice, or be lost. After a loss, and at the start, it reports that any dataset may have changed.
type Watcher struct {
	nc       *nats.Conn
	subjects subjects
	name     string
	buffer   int
	changes  chan string
	failures chan error
}

// NewWatcher returns a Watcher of the dataset called name, or of all datasets if name is empty, on nc. It starts nothing. It wraps the
// connection's handler of asynchronous errors for the life of the connection: create only one Watcher for each connection.
func NewWatcher(nc *nats.Conn, namespace, name string) (*Watcher, error) {
	subjects, err := newSubjects(namespace)
	if err == nil && name != "" {
		err = dataset.CheckName(name)
	}
	if err != nil {
		return nil, fmt.Errorf("watch for changes: %w", err)
	}
	w := &Watcher{nc: nc, subjects: subjects, name: name, buffer: defaultBuffer, changes: make(chan string), failures: make(chan error, 1)}
	next := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if next != nil {
			next(nc, sub, err)
		}
		select {
		case w.failures <- err:
		default: // the pending error has the same effect
		}
	})
	return w, nil
}

// Changes returns the channel of the names of datasets that have changed since the last receive. An empty name means that any dataset may
// have changed. The first one is empty: the subscriptions are active when the caller receives it, so a read of the store that begins
// afterwards, and the later changes, miss nothing.
func (w *Watcher) Changes() <-chan string { return w.changes }

// Run subscribes and serves Changes until ctx ends, and then returns nil. A connection that is down is no error: Run waits for it. Run
// returns [ErrClosed], or an error if the server does not permit the subscriptions.
func (w *Watcher) Run(ctx context.Context) error {
	status := w.nc.StatusChanged(nats.CONNECTED, nats.CLOSED) // before the subscriptions, so that Run sees every reconnect after them
	defer w.nc.RemoveStatusListener(status)
	s := &watching{Watcher: w, messages: make(chan *nats.Msg, w.buffer), pending: map[string]bool{}, flush: true}
	defer s.unsubscribe()
	if err := s.subscribe(); err != nil {
		return err
	}
	for {
		retry := s.confirm(ctx)
		out, name := s.offer()
		select {
		case <-ctx.Done():
			return nil
		case out <- name:
			s.sent(name)
		case m := <-s.messages:
			s.receive(m)
		case err := <-w.failures:
			if err := s.failed(err); err != nil {
				return err
			}
		case st := <-status:
			if st == nats.CLOSED {
				return ErrClosed
			}
			s.flush = true
		case <-retry:
		}
	}
}

// watching is the state of one Run. Only its goroutine uses it.
type watching struct {
	*Watcher
	subscriptions []*nats.Subscription
	messages      chan *nats.Msg
	dropped       int // messages dropped by all subscriptions, as of the last count
	// flush is true while the server has not confirmed the subscriptions since the last connect.
	flush bool
	// all means that any dataset may have changed; pending are those that have, in the order of queue.
	all     bool
	pending map[string]bool
	queue   []string
}

func (s *watching) subscribe() error {
	name := s.name
	if name == "" {
		name = "*"
	}
	for _, subject := range []string{s.subjects.of(name), s.subjects.journal + name} {
		sub, err := s.nc.ChanSubscribe(subject, s.messages)
		if errors.Is(err, nats.ErrConnectionClosed) {
			return ErrClosed
		}
		if err != nil {
			return fmt.Errorf("watch for changes: subscribe to %s: %w", subject, err)
		}
		s.subscriptions = append(s.subscriptions, sub)
	}
	return nil
}

func (s *watching) unsubscribe() {
	for _, sub := range s.subscriptions {
		_ = sub.Unsubscribe() // fails only with the connection gone and the subscription with it
	}
}

// confirm waits for the server to confirm the subscriptions, if that is due. If that fails, it returns a channel that fires when to try
// again. Without a connection it waits for one.
func (s *watching) confirm(ctx context.Context) (retry <-chan time.Time) {
	if !s.flush || !s.nc.IsConnected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := s.nc.FlushWithContext(ctx); err != nil {
		return time.After(flushAgain)
	}
	s.flush, s.all = false, true
	return nil
}

// offer returns the channel and the name to send. The channel is nil while there is nothing to send, and before the server has confirmed
// the subscriptions.
func (s *watching) offer() (chan<- string, string) {
	switch {
	case s.all:
		return s.changes, ""
	case len(s.queue) > 0 && !s.flush:
		return s.changes, s.queue[0]
	}
	return nil, ""
}

// sent records that the caller has received the name.
func (s *watching) sent(name string) {
	if name == "" {
		s.all, s.queue = false, nil
		clear(s.pending)
		return
	}
	s.queue = s.queue[1:]
	delete(s.pending, name)
}

// receive handles a message, and counts the dropped ones when the buffer is empty.
func (s *watching) receive(m *nats.Msg) {
	name, ok := strings.CutPrefix(m.Subject, s.subjects.journal)
	if !ok {
		name = s.subjects.nameOf(m.Subject)
	}
	if dataset.CheckName(name) == nil && !s.pending[name] {
		s.pending[name] = true
		s.queue = append(s.queue, name)
	}
	if len(s.messages) == 0 {
		s.countDropped()
	}
}

func (s *watching) countDropped() {
	total := 0
	for _, sub := range s.subscriptions {
		if n, err := sub.Dropped(); err == nil {
			total += n
		}
	}
	s.all = s.all || total > s.dropped
	s.dropped = total
}

// failed handles an asynchronous error of the connection.
func (s *watching) failed(err error) error {
	if errors.Is(err, nats.ErrPermissionViolation) {
		for _, prefix := range []string{s.subjects.versions, s.subjects.journal} {
			if strings.Contains(err.Error(), `Subscription to "`+prefix) {
				return fmt.Errorf("watch for changes: the server does not let this user subscribe to %s<dataset>: %w", prefix, err)
			}
		}
	}
	s.all = true
	return nil
}
