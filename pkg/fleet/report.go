package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

// SendReport sends r in the namespace, once. While the connection is down, the client buffers reports (8 MB by default) and sends
// them after the reconnect. SendReport returns an error if the buffer is full.
func SendReport(nc *nats.Conn, namespace string, r Report) error {
	if err := errors.Join(dataset.CheckNamespace(namespace), dataset.CheckName(r.Dataset)); err != nil {
		return fmt.Errorf("send a report: %w", err)
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = nc.Publish(reportPrefix(namespace)+r.Dataset, data)
	}
	if err != nil {
		return fmt.Errorf("send the report on version %d of %s: %w", r.Version, r.Dataset, err)
	}
	return nil
}

// Reports is a subscription to the reports of instances. It is not safe for concurrent use.
type Reports struct {
	sub    *nats.Subscription
	prefix string // of the subjects
}

// WatchReports subscribes to the reports in the namespace on the dataset, or on all datasets if name is empty. When it
// returns, the server has the subscription. The caller closes the subscription.
func WatchReports(ctx context.Context, nc *nats.Conn, namespace, name string) (*Reports, error) {
	if err := dataset.CheckNamespace(namespace); err != nil {
		return nil, fmt.Errorf("watch reports: %w", err)
	}
	prefix := reportPrefix(namespace)
	subject := prefix + "*"
	if name != "" {
		if err := dataset.CheckName(name); err != nil {
			return nil, fmt.Errorf("watch reports: %w", err)
		}
		subject = prefix + name
	}
	if !nc.IsConnected() {
		return nil, fmt.Errorf("watch reports: %w", ErrDisconnected)
	}
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		return nil, fmt.Errorf("watch reports: subscribe to %s: %w", subject, err)
	}
	flush, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	if err := nc.FlushWithContext(flush); err != nil {
		_ = sub.Unsubscribe()
		return nil, fmt.Errorf("watch reports: subscribe to %s: %w", subject, err)
	}
	return &Reports{sub: sub, prefix: prefix}, nil
}

// Next returns the next report. Its error is ctx's, or [ErrClosed]. The client drops reports that arrive much faster than the
// caller receives them, and Next skips unreadable ones: a report is only a hint.
func (w *Reports) Next(ctx context.Context) (Report, error) {
	for {
		m, err := w.sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrSlowConsumer):
			continue
		case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrBadSubscription):
			return Report{}, ErrClosed
		case err != nil:
			return Report{}, err
		}
		var r Report
		if json.Unmarshal(m.Data, &r) == nil && w.prefix+r.Dataset == m.Subject {
			return r, nil
		}
	}
}

// Close ends the subscription.
func (w *Reports) Close() { _ = w.sub.Unsubscribe() } // fails only if the subscription has already ended
