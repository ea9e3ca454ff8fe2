package events

import (
	"context"
	"fmt"

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
	if err := nc.Publish(subjects.journal+e.Dataset, data); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return nc.FlushWithContext(ctx)
}
