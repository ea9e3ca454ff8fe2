package pull

import (
	"context"
	"fmt"
	"time"

	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/relays"
)

// round queries each relay once, in order, until one sends a usable answer. With hedges it also queries the next relay while
// one is slow to answer.
type round struct {
	c     *Client
	ctx   context.Context
	what  string
	key   []byte // of the order
	query func(relays.Standing) query
	// judge returns the attempt, with an error if the answer is unusable. The stream is nil if the attempt has an error already.
	judge     func(*relays.Relay, *stream, Attempt) Attempt
	hedged    bool
	busy      map[*relays.Relay]busy // relays to skip
	heartbeat func()                 // called whenever a relay fails or is hedged

	end     time.Time // for TotalTimeout
	order   []relays.Choice
	open    map[*request]bool
	answers chan *request
	failed  *Error
}

// request is a request to one relay in flight.
type request struct {
	relay  relays.Choice
	began  time.Time
	cancel context.CancelFunc
	detach func() bool // makes the request outlive the context of the round; false if that has ended
	hedged bool        // another relay was queried because this one is slow

	answered chan struct{} // closed when the fields below are set
	stream   *stream
	attempt  Attempt
}

// close ends the request, answered or not.
func (r *request) close() {
	r.cancel()
	if <-r.answered; r.stream != nil {
		r.stream.Close()
	}
}

// run makes the round. Its error is an *[Error], or the cause with which the caller canceled the context. That is no failure
// of a relay; silence until the context's deadline is one.
func (r *round) run() error {
	var ok bool
	if r.end, ok = r.ctx.Deadline(); !ok {
		r.end = time.Now().Add(r.c.cfg.TotalTimeout)
	}
	r.order = r.c.relays.InOrder(r.key)
	r.answers = make(chan *request, len(r.order))
	r.open = make(map[*request]bool)
	r.failed = &Error{What: r.what}
	defer func() {
		for req := range r.open {
			req.close()
		}
	}()
	if r.hedged {
		r.c.hedges.countRequest()
	}
	if r.heartbeat == nil {
		r.heartbeat = func() {}
	}
	for r.startNext(); len(r.open) > 0; r.startNext() {
		req := r.await()
		if req == nil {
			r.heartbeat() // another relay is queried
			continue
		}
		delete(r.open, req)
		a := r.judge(req.relay.Relay, req.stream, req.attempt)
		if a.Err == nil {
			r.endOvertaken(req)
			return nil
		}
		req.close()
		if canceled(r.ctx) {
			return fmt.Errorf("pull %s: %w", r.what, context.Cause(r.ctx))
		}
		if !a.rejected {
			r.c.recordFailure(req.relay.Relay, a)
		}
		r.c.hedges.refund(req)
		r.failed.Attempts = append(r.failed.Attempts, a)
		if r.ctx.Err() != nil {
			break
		}
		r.heartbeat()
	}
	return r.failed
}

// startNext starts a request to the next relay in order that is not busy. It starts none to a distrusted relay while another
// relay may still send the object: one with a request in flight, or a busy one.
func (r *round) startNext() {
	for len(r.order) > 0 {
		next := r.order[0]
		if next.Standing == relays.Distrusted && len(r.open) > 0 {
			return
		}
		r.order = r.order[1:]
		switch last := r.busy[next.Relay]; {
		case r.hedged && next.Standing == relays.Distrusted && r.failed.busy():
			r.order = nil
		case time.Now().Before(last.until):
			r.failed.Attempts = append(r.failed.Attempts, last.attempt)
		default:
			r.open[r.start(next)] = true
			return
		}
	}
}

// start sends the request to a relay.
func (r *round) start(relay relays.Choice) *request {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.ctx))
	stop := context.AfterFunc(r.ctx, func() { cancel(context.Cause(r.ctx)) })
	req := &request{
		relay: relay, began: time.Now(), detach: stop, answered: make(chan struct{}),
		cancel: func() { stop(); cancel(context.Canceled) },
	}
	q := r.query(relay.Standing)
	if q.limit = r.c.cfg.HeaderTimeout; r.c.cfg.TotalTimeout > 0 && len(r.order) > 0 {
		q.limit = max(time.Until(r.end)/2, time.Millisecond)
	}
	go func() {
		if err := guard.Try(func() error {
			req.stream, req.attempt = r.c.send(ctx, relay.Relay, q)
			return nil
		}); err != nil {
			req.attempt = Attempt{Relay: relay.String(), Err: err}
		}
		if req.stream != nil {
			req.stream.release = req.cancel
		}
		close(req.answered)
		r.answers <- req // has a buffer for every relay
	}()
	return req
}

// await returns the next answered request. It returns nil if another relay must be queried too, because the only request is slow, or a
// request and its hedge are both silent.
func (r *round) await() *request {
	if !r.hedged || len(r.order) == 0 || r.order[0].Standing == relays.Distrusted {
		return <-r.answers // each ends with the context
	}
	patience := hedgeAfter
	if len(r.open) > 1 {
		patience = silentAfter
	}
	hedge := time.NewTimer(patience)
	defer hedge.Stop()
	for {
		select {
		case req := <-r.answers:
			return req
		case <-hedge.C:
			if r.c.hedges.take() {
				for req := range r.open {
					req.hedged = true
				}
				return nil
			}
			hedge.Reset(hedgeAfter)
		}
	}
}
