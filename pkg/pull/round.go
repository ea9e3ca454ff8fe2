package pull

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"freshet.dev/pkg/relays"
)

// hedgeAfter is how long a relay may take to the header of its answer until another one is asked for the object too. A relay that hangs
// then costs an object half a second and not the header timeout.
const hedgeAfter = 400 * time.Millisecond

// errOvertaken is the failure of a relay that had not answered when another one had, which was asked hedgeAfter later.
var errOvertaken = fmt.Errorf("no answer in the time in which another relay, which was asked %s later, had answered", hedgeAfter)

// question is a request to one relay that is under way.
type question struct {
	relay   relays.Choice
	began   time.Time
	cancel  context.CancelFunc
	stream  *stream
	attempt Attempt
}

// round asks each relay once: the next one when one failed, and also while one is slow to answer. It returns how they failed, or else
// ctx's error, or nil.
func (b *Body) round() (*Error, error) {
	failed := &Error{What: b.what()}
	order := b.c.relays.InOrder(b.object.Digest[:])
	replies := make(chan *question, len(order))
	open := make(map[*question]bool)
	defer func() { b.abandon(open, replies) }()
	for next := 0; ; {
		for asked := false; next < len(order) && !asked; {
			r := order[next]
			if r.Standing == relays.Distrusted && (failed.busy() || len(open) > 0) {
				if len(open) == 0 {
					next = len(order)
				}
				break // rather wait for a relay that is right
			}
			next++
			if said, ok := b.busy[r.Relay]; ok && time.Now().Before(said.until) {
				failed.Attempts = append(failed.Attempts, said.attempt)
				continue
			}
			open[b.ask(r, replies)] = true
			asked = true
		}
		if len(open) == 0 {
			return failed, nil
		}
		q := b.await(replies, next < len(order) && order[next].Standing != relays.Distrusted)
		if q == nil {
			b.step() // another relay is asked
			continue
		}
		delete(open, q)
		if q.attempt.Err == nil {
			if q.attempt.Err = b.accept(q.stream); q.attempt.Err == nil {
				b.overtaken(open, q)
				b.c.blame.served(b.object.Digest)
				return nil, nil
			}
			q.stream.Close()
			q.attempt.Status = q.stream.res.StatusCode
		}
		q.cancel()
		if b.ctx.Err() != nil {
			return nil, fmt.Errorf("pull %s: %w", b.what(), context.Cause(b.ctx))
		}
		b.failedAt(q)
		failed.Attempts = append(failed.Attempts, q.attempt)
		b.step()
	}
}

// ask sends the request to r.
func (b *Body) ask(r relays.Choice, replies chan<- *question) *question {
	ctx, cancel := context.WithCancel(b.ctx)
	q := &question{relay: r, began: time.Now(), cancel: cancel}
	header := b.header(r.Standing)
	go func() {
		q.stream, q.attempt = b.c.get(ctx, r.Relay, "/v1/objects/"+b.object.Digest.String(), header)
		if q.stream != nil {
			q.stream.release = cancel
		}
		replies <- q
	}()
	return q
}

// await returns the next reply; nil if none came within hedgeAfter and there is another relay to be asked.
func (b *Body) await(replies <-chan *question, more bool) *question {
	if !more {
		return <-replies // each ends with ctx
	}
	hedge := time.NewTimer(hedgeAfter)
	defer hedge.Stop()
	select {
	case q := <-replies:
		return q
	case <-hedge.C:
		return nil
	}
}

// failedAt records how a relay failed.
func (b *Body) failedAt(q *question) {
	switch r := q.relay.Relay; {
	case q.attempt.busy():
		b.busy[r] = busy{time.Now().Add(q.attempt.RetryAfter), q.attempt}
	case q.attempt.damaged:
		b.c.blame.store(b.c, r, b.object.Digest, q.attempt.Err)
	case q.attempt.Status != http.StatusNotFound:
		b.c.relays.Fail(r, q.attempt.Err)
	}
}

// overtaken has the relays that are slower than the winner asked after the others for a while.
func (b *Body) overtaken(open map[*question]bool, winner *question) {
	for q := range open {
		if winner.began.Sub(q.began) >= hedgeAfter {
			b.c.relays.Fail(q.relay.Relay, errOvertaken)
		}
	}
}

// abandon ends the requests that are still under way.
func (b *Body) abandon(open map[*question]bool, replies <-chan *question) {
	for q := range open {
		q.cancel()
	}
	for range open {
		if q := <-replies; q.stream != nil {
			q.stream.Close()
		}
	}
}
