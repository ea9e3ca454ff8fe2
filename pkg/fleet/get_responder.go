package fleet

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

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

// Run answers requests, one at a time, until ctx ends, and then returns nil. It returns [ErrClosed] when the connection is closed. After a
// panic of lookup it answers that request and returns the panic as an error; the caller may call Run again. After Run has returned, lookup
// is not called any more.
func (r *GetResponder) Run(ctx context.Context) error {
	return runResponder{
		nc: r.nc, namespace: r.namespace, run: r.run, subject: getSubject(r.namespace, r.run), what: "remote gets", most: maxGetRequest,
		answer: r.answer,
		failed: func(err error) []byte {
			if guard.Stack(err) != "" {
				err = fmt.Errorf("%w: %w", ErrGetFailed, err)
			}
			return encodeFailure(err)
		},
	}.Run(ctx)
}

func (r *GetResponder) answer(data []byte, limit int) ([]byte, error) {
	q, err := decodeGet(data)
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
