package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/relays"
)

// Object returns the bytes of the object o. If a relay answers that it is busy, Object waits and retries, for at most the
// client's Patience. Its error is an *[Error], or ctx's. ctx also ends the body.
//
// heartbeat, if not nil, is called whenever Object or the body's Read makes progress other than bytes: a relay failed and
// the next one is queried, or a deliberate pause goes on. The time between two heartbeats, or a heartbeat and a byte, is at
// most one HeaderTimeout or StallTimeout. A longer silence is a hang.
func (c *Client) Object(ctx context.Context, o dataset.Object, heartbeat func()) (*Body, error) {
	if heartbeat == nil {
		heartbeat = func() {}
	}
	b := &Body{
		c: c, ctx: ctx, object: o, end: o.Bytes, heartbeat: heartbeat, busy: make(map[*relays.Relay]busy), lastByte: time.Now(),
		backoff: backoff.New(minBackOff, maxBackOff),
	}
	return b.opened()
}

// Range returns the bytes from offset from to to-1 of the object, without hedges and pauses. After a connection broke,
// Read continues at the next relay, or again at the same, once for each relay. The errors are an *[Error], or ctx's.
func (c *Client) Range(ctx context.Context, digest dataset.Digest, from, to int64) (*Body, error) {
	b := &Body{c: c, ctx: ctx, object: dataset.Object{Digest: digest}, ranged: true, at: from, end: to, heartbeat: func() {}}
	return b.opened()
}

func (b *Body) opened() (*Body, error) {
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// Size returns the size of the object. A relay has not served by that: it may fail to send the bytes.
func (c *Client) Size(ctx context.Context, digest dataset.Digest) (size int64, err error) {
	r := round{c: c, ctx: ctx, what: "the size of object " + digest.String(), key: digest[:]}
	r.query = func(relays.Standing) query { return query{method: http.MethodHead, path: objectPath(digest)} }
	r.judge = func(_ *relays.Relay, s *stream, a Attempt) Attempt {
		if a.Err == nil {
			defer s.Close()
			if size = s.res.ContentLength; size < 0 {
				a.Err = fmt.Errorf("%w: there is no Content-Length", ErrAnswer)
			} else {
				a.Err = checkObject(s.res, digest)
			}
		}
		return a
	}
	return size, r.run()
}

// Recheck makes all relays read the object again from their stores, concurrently. Its error joins those of the relays,
// except for a 404. It is [ErrDamaged] only if no relay has the object undamaged.
func (c *Client) Recheck(ctx context.Context, digest dataset.Digest) error {
	q := query{method: http.MethodHead, path: objectPath(digest), header: http.Header{"Cache-Control": {"no-cache"}}}
	var all []error
	undamaged := false
	order := c.relays.InOrder(digest[:])
	fanOut(order, func(i int) Attempt {
		s, a := c.send(ctx, order[i].Relay, q)
		if s != nil {
			s.Close()
		}
		return a
	}, func(i int, a Attempt) {
		switch {
		case a.Err == nil:
			undamaged = true
		case !a.notFound():
			all = append(all, fmt.Errorf("relay %s: %w", a.Relay, a.Err))
			if ctx.Err() == nil { // a long read of the store is not a failure
				c.recordFailure(order[i].Relay, a)
			}
		}
	})
	err := oneline.Join(all...)
	if undamaged && errors.Is(err, ErrDamaged) {
		return nil
	}
	return err
}

// fanOut calls ask for all relays concurrently, and done for each of its results, one after another.
func fanOut(all []relays.Choice, ask func(i int) Attempt, done func(i int, a Attempt)) {
	type result struct {
		i int
		Attempt
	}
	results := make(chan result)
	for i, r := range all {
		go func() {
			var a Attempt
			if err := guard.Try(func() error { a = ask(i); return nil }); err != nil {
				a = Attempt{Relay: r.String(), Status: http.StatusOK, Err: err}
			}
			results <- result{i, a}
		}()
	}
	for range all {
		r := <-results
		done(r.i, r.Attempt)
	}
}
