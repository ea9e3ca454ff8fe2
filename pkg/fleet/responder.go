package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// statusSubject is where instances are asked.
const statusSubject = "freshet.v1.instances.status"

// ErrClosed is returned when the connection was closed for good.
var ErrClosed = errors.New("the connection to NATS is closed")

// pendingRequests is how many requests may wait while one is answered. One that finds no place is lost; who asks
// again gets an answer.
const pendingRequests = 256

// Responder answers for one instance. Create it with NewResponder.
type Responder struct {
	nc     *nats.Conn
	status func() Status
}

// NewResponder returns a responder that answers on nc with what status returns. It starts nothing.
func NewResponder(nc *nats.Conn, status func() Status) *Responder {
	return &Responder{nc: nc, status: status}
}

// Run answers, on its own goroutine, until ctx ends, and then returns nil; or [ErrClosed]. A connection that is down
// is no error: it answers again when there is one.
func (r *Responder) Run(ctx context.Context) error {
	closed := r.nc.StatusChanged(nats.CLOSED)
	defer r.nc.RemoveStatusListener(closed)
	requests := make(chan *nats.Msg, pendingRequests)
	sub, err := r.nc.ChanSubscribe(statusSubject, requests)
	if errors.Is(err, nats.ErrConnectionClosed) {
		return ErrClosed
	}
	if err != nil {
		return fmt.Errorf("answer for the instance: subscribe to %s: %w", statusSubject, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is gone, and the subscription with it
	for {
		select {
		case m := <-requests:
			answer, err := json.Marshal(r.status())
			if err != nil {
				return fmt.Errorf("answer for the instance: %w", err)
			}
			// Who asked gets no answer if this fails, and takes the instance for gone, as it is.
			_ = m.Respond(answer)
		case <-closed:
			return ErrClosed
		case <-ctx.Done():
			return nil
		}
	}
}
