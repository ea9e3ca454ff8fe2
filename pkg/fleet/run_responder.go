package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

// pendingOfRun bounds the requests to one run that wait while the responder answers one. Further ones are dropped, and their senders time
// out or repeat them. With the most bytes of a request it bounds the memory of a flood.
const pendingOfRun = 16

// runResponder answers the requests of one kind to one run of an instance.
//
// It is no endpoint of the [Responder]: NATS's library for services ends a service with all its endpoints after an error of one.
type runResponder struct {
	nc                      *nats.Conn
	namespace, run, subject string
	what                    string // of the requests, for errors
	most                    int    // the most bytes of a request
	// answer returns the answer to a request, of at most limit bytes. It must not wait.
	answer func(data []byte, limit int) ([]byte, error)
	// failed returns the answer for an error of answer, which may be a panic.
	failed func(err error) []byte
}

// runMessage is a received request.
type runMessage struct {
	reply string
	data  []byte
	err   error // why data is missing
}

// Run answers requests, one at a time, until ctx ends, and then returns nil. It returns [ErrClosed] when the connection is closed. After a
// panic of answer it answers that request and returns the panic as an error; the caller may call Run again. After Run has returned, answer
// is not called any more.
func (r runResponder) Run(ctx context.Context) error {
	if err := dataset.CheckNamespace(r.namespace); err != nil {
		return fmt.Errorf("answer %s: %w", r.what, err)
	}
	if !validRun(r.run) {
		return fmt.Errorf("answer %s: the run %.80q cannot be a part of a subject", r.what, r.run)
	}
	closed := r.nc.StatusChanged(nats.CLOSED)
	defer r.nc.RemoveStatusListener(closed)
	requests := make(chan runMessage, pendingOfRun)
	sub, err := r.nc.Subscribe(r.subject, func(m *nats.Msg) { r.queue(requests, m) })
	if errors.Is(err, nats.ErrConnectionClosed) {
		return ErrClosed
	}
	if err != nil {
		return fmt.Errorf("answer %s: subscribe to %s: %w", r.what, r.subject, err)
	}
	defer r.end(sub)
	if err := sub.SetPendingLimits(pendingRequests, pendingBytes); err != nil {
		return fmt.Errorf("answer %s: bound the queue of %s: %w", r.what, r.subject, err)
	}
	for {
		select {
		case m := <-requests:
			if err := r.respond(m); err != nil {
				return fmt.Errorf("answer %s: %w", r.what, err)
			}
		case <-closed:
			return ErrClosed
		case <-ctx.Done():
			return nil
		}
	}
}

// endTimeout bounds the wait for the server at the end of a run.
const endTimeout = 250 * time.Millisecond

// end ends the subscription, and waits until the server knows: requests that it delivers to a run that has ended get no answer, and their
// senders wait for it.
func (r runResponder) end(sub *nats.Subscription) {
	if sub.Unsubscribe() == nil && r.nc.IsConnected() { // otherwise the subscription is gone with the connection
		_ = r.nc.FlushTimeout(endTimeout)
	}
}

// queue queues the request of m, and drops it if the queue is full. It never waits: a subscription whose handler waits becomes a slow
// consumer, which the log reports as if events were lost.
func (r runResponder) queue(requests chan<- runMessage, m *nats.Msg) {
	q := runMessage{reply: m.Reply, data: m.Data}
	if len(m.Data) > r.most {
		q.data, q.err = nil, fmt.Errorf("the request has %d bytes, the most is %d", len(m.Data), r.most)
	}
	select {
	case requests <- q:
	default:
	}
}

// respond answers a request. It ignores the error of a failed answer: the sender of the request times out.
func (r runResponder) respond(m runMessage) error {
	if m.reply == "" || strings.HasPrefix(m.reply, "freshet.") || strings.HasPrefix(m.reply, "$") {
		return nil // no inbox: the instance sends nothing on freshet's and the server's subjects on behalf of others
	}
	limit := int(r.nc.MaxPayload())
	if limit <= 0 {
		limit = usualPayload
	}
	var answer []byte
	err := m.err
	if err == nil {
		err = guard.Try(func() (err error) { answer, err = r.answer(m.data, limit); return err })
	}
	if err != nil {
		answer = r.failed(err)
	}
	_ = r.nc.Publish(m.reply, answer)
	if guard.Stack(err) != "" {
		return err
	}
	return nil
}
