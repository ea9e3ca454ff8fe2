package events

import (
	"context"
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

// SendEntry sends the event of a journal entry on core NATS, and returns when the server has received it. The event log does not keep
// it, because a catch-up reads the last message of a dataset's subject, which must be a version. A reader that misses the event finds the
// entry in the store. SendEntry fails without a connection. It returns nil if the server denies the subject to the account, because the
// server says that only to the connection's error handler.
func SendEntry(ctx context.Context, nc *nats.Conn, namespace string, e dataset.Entry) error {
	err := sendEntry(ctx, nc, namespace, e)
	if err != nil {
		return fmt.Errorf("send journal entry %s over NATS: %w", e.ID(), err)
	}
	return nil
}

func sendEntry(ctx context.Context, nc *nats.Conn, namespace string, e dataset.Entry) error {
	subjects, err := newSubjects(namespace)
	if err != nil {
		return err
	}
	data, err := dataset.EncodeEntryEvent(e)
	if err != nil {
		return err
	}
	if !nc.IsConnected() { // the client would keep the message for later, and the caller could not report that
		return nats.ErrDisconnected
	}
	if err := nc.Publish(subjects.ofJournal(e.Dataset), data); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

// Entries returns the channel of journal entries: of each dataset and store the one with the highest number since the last receive. It is
// for a Listener with ListenerConfig.Entries. A server that does not let this user subscribe to them causes a request to catch up, and no other effect. While an entry is pending, no
// version is offered: an entry that arrived before a version is received before it, unless the Listener dropped messages.
func (l *Listener) Entries() <-chan dataset.Entry { return l.entries }

// receiveEntry handles a journal entry.
func (s *listening) receiveEntry(m *nats.Msg) {
	name := strings.TrimPrefix(m.Subject, s.subjects.journal)
	if !s.names[name] {
		return // another dataset, due to the wildcard
	}
	e, err := dataset.DecodeEntryEvent(m.Data)
	if err == nil && e.Dataset != name {
		err = fmt.Errorf("%w: entry %s on the subject %s", dataset.ErrEvent, e.ID(), m.Subject)
	}
	if err != nil {
		s.requestCatchUp(fmt.Sprintf("a journal entry on %s is not readable: %v", m.Subject, err), false)
		return
	}
	of := source{name, e.StoreID}
	pending, ok := s.pendingEntries[of]
	switch {
	case !ok && len(s.entryQueue) >= s.buffer+len(s.names):
		s.requestCatchUp("journal entries of too many stores", false)
		return
	case !ok:
		s.entryQueue = append(s.entryQueue, of)
	}
	if !ok || pending.Number < e.Number {
		s.pendingEntries[of] = e
	}
}

// offerEntry returns the channel and the entry to send. The channel is nil while there is nothing to send.
func (s *listening) offerEntry() (chan<- dataset.Entry, dataset.Entry) {
	if len(s.entryQueue) == 0 {
		return nil, dataset.Entry{}
	}
	return s.entries, s.pendingEntries[s.entryQueue[0]]
}

// sentEntry removes an entry that the caller has received.
func (s *listening) sentEntry(e dataset.Entry) {
	s.entryQueue = s.entryQueue[1:]
	delete(s.pendingEntries, source{e.Dataset, e.StoreID})
}
