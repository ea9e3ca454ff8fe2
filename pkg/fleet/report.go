package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

// reportPrefix is what the subject of every report begins with; the dataset's name follows.
const reportPrefix = "freshet.v1.reports."

// SendReport sends r, once. While the connection is down, reports wait in the client's buffer (8 MB by default) and
// are sent when it is back; what does not fit is an error.
func SendReport(nc *nats.Conn, r Report) error {
	if err := dataset.CheckName(r.Dataset); err != nil {
		return fmt.Errorf("send a report: %w", err)
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = nc.Publish(reportPrefix+r.Dataset, data)
	}
	if err != nil {
		return fmt.Errorf("send the report on version %d of %s: %w", r.Version, r.Dataset, err)
	}
	return nil
}

// Reports is a subscription to the reports of instances, for one goroutine at a time.
type Reports struct {
	sub *nats.Subscription
}

// WatchReports subscribes to the reports on the dataset, on all datasets if it is empty. When it returns, the server
// has the subscription. The caller closes it.
func WatchReports(ctx context.Context, nc *nats.Conn, name string) (*Reports, error) {
	subject := reportPrefix + "*"
	if name != "" {
		if err := dataset.CheckName(name); err != nil {
			return nil, fmt.Errorf("watch reports: %w", err)
		}
		subject = reportPrefix + name
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
	return &Reports{sub: sub}, nil
}

// Next returns the next report. Its error is ctx's, or [ErrClosed]. Reports that come much faster than they are
// received are dropped, and one that is not readable is left out: a report is only a hint.
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
		if json.Unmarshal(m.Data, &r) == nil && reportPrefix+r.Dataset == m.Subject {
			return r, nil
		}
	}
}

// Close ends the subscription.
func (w *Reports) Close() { _ = w.sub.Unsubscribe() } // fails only when it is gone already
