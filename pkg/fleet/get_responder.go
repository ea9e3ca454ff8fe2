package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

// pendingGets bounds the remote gets that wait while the responder answers one. Further ones are dropped, and their senders time out.
// With maxGetRequest it bounds the memory of a flood.
const pendingGets = 16

// Content is what an instance serves of some keys.
type Content struct {
	// Version and ID are the served version's; zero if there is none.
	Version uint64
	ID      dataset.VersionID
	// Values has the value of each key in the order of the keys, nil for a key without a record. An empty value is not nil.
	Values [][]byte
}

// GetResponder answers remote gets for one instance. Create it with NewGetResponder.
//
// It is no endpoint of the [Responder]: NATS's library for services ends a service with all its endpoints after an error of one.
type GetResponder struct {
	nc        *nats.Conn
	namespace string
	run       string
	lookup    func(name string, keys [][]byte) (Content, error)
}

// NewGetResponder returns a GetResponder for the run of an instance in the namespace on nc. lookup returns what the instance serves; it
// must not wait. Its error is the answer, an [ErrGetRefused] if the instance refuses remote gets. NewGetResponder starts nothing.
func NewGetResponder(nc *nats.Conn, namespace, run string, lookup func(name string, keys [][]byte) (Content, error)) *GetResponder {
	return &GetResponder{nc: nc, namespace: namespace, run: run, lookup: lookup}
}

// getMessage is a received request.
type getMessage struct {
	reply string
	data  []byte
	err   error // why data is missing
}

// Run answers requests, one at a time, until ctx ends, and then returns nil. It returns [ErrClosed] when the connection is closed. After a
// panic of lookup it answers that request and returns the panic as an error; the caller may call Run again. After Run has returned, lookup
// is not called any more.
func (r *GetResponder) Run(ctx context.Context) error {
	if err := dataset.CheckNamespace(r.namespace); err != nil {
		return fmt.Errorf("answer remote gets: %w", err)
	}
	if !validRun(r.run) {
		return fmt.Errorf("answer remote gets: the run %.80q cannot be a part of a subject", r.run)
	}
	closed := r.nc.StatusChanged(nats.CLOSED)
	defer r.nc.RemoveStatusListener(closed)
	requests := make(chan getMessage, pendingGets)
	subject := getSubject(r.namespace, r.run)
	sub, err := r.nc.Subscribe(subject, func(m *nats.Msg) { queueGet(requests, m) })
	if errors.Is(err, nats.ErrConnectionClosed) {
		return ErrClosed
	}
	if err != nil {
		return fmt.Errorf("answer remote gets: subscribe to %s: %w", subject, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only if the connection is gone, and the subscription with it
	if err := sub.SetPendingLimits(pendingRequests, pendingBytes); err != nil {
		return fmt.Errorf("answer remote gets: bound the queue of %s: %w", subject, err)
	}
	for {
		select {
		case m := <-requests:
			if err := r.respond(m); err != nil {
				return fmt.Errorf("answer a remote get: %w", err)
			}
		case <-closed:
			return ErrClosed
		case <-ctx.Done():
			return nil
		}
	}
}

// queueGet queues the request of m, and drops it if the queue is full. It never waits: a subscription whose handler waits becomes a slow
// consumer, which the log reports as if events were lost.
func queueGet(requests chan<- getMessage, m *nats.Msg) {
	q := getMessage{reply: m.Reply, data: m.Data}
	if len(m.Data) > maxGetRequest {
		q.data, q.err = nil, fmt.Errorf("the request has %d bytes, the most is %d", len(m.Data), maxGetRequest)
	}
	select {
	case requests <- q:
	default:
	}
}

// respond answers a request. It ignores the error of a failed answer: the sender of the request times out.
func (r *GetResponder) respond(m getMessage) error {
	if m.reply == "" || strings.HasPrefix(m.reply, "freshet.") || strings.HasPrefix(m.reply, "$") {
		return nil // no inbox: the instance sends nothing on freshet's and the server's subjects on behalf of others
	}
	limit := int(r.nc.MaxPayload())
	if limit <= 0 {
		limit = usualPayload
	}
	var answer []byte
	err := guard.Try(func() (err error) { answer, err = r.answer(m, limit); return err })
	panicked := guard.Stack(err) != ""
	switch {
	case panicked:
		answer = encodeFailure(fmt.Errorf("%w: %w", ErrGetFailed, err))
	case err != nil:
		answer = encodeFailure(err)
	}
	_ = r.nc.Publish(m.reply, answer)
	if panicked {
		return err
	}
	return nil
}

func (r *GetResponder) answer(m getMessage, limit int) ([]byte, error) {
	if m.err != nil {
		return nil, m.err
	}
	q, err := decodeGet(m.data)
	if err != nil {
		return nil, err
	}
	c, err := r.lookup(q.Dataset, q.Keys)
	if err != nil {
		return nil, err
	}
	if len(c.Values) != len(q.Keys) {
		return nil, fmt.Errorf("it has %d values for %d keys", len(c.Values), len(q.Keys))
	}
	return encodeContent(c, limit)
}
