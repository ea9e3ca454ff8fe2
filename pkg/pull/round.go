package pull

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/relays"
)

// question is a request to one relay that is under way.
type question struct {
	relay  relays.Choice
	began  time.Time
	cancel context.CancelFunc
	detach func() bool // has the request go on when the pull's context ends; false if it has ended
	hedged bool        // another relay was asked because this one is slow

	answered chan struct{} // closed when what follows is set
	stream   *stream
	attempt  Attempt
}

// end ends the request, whether it was answered or not.
func (q *question) end() {
	q.cancel()
	if <-q.answered; q.stream != nil {
		q.stream.Close()
	}
}

// round asks each relay once: the next one when one failed, and also while one is slow to answer. It returns how they failed, or else
// ctx's error, or nil.
func (b *Body) round() (*Error, error) {
	failed := &Error{What: b.what()}
	order := b.c.relays.InOrder(b.object.Digest[:])
	replies := make(chan *question, len(order))
	open := make(map[*question]bool)
	defer func() {
		for q := range open {
			q.end()
		}
	}()
	b.c.hedges.asked()
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
		q := b.await(replies, open, next < len(order) && order[next].Standing != relays.Distrusted)
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
		b.c.hedges.settle(q)
		failed.Attempts = append(failed.Attempts, q.attempt)
		b.step()
	}
}

// ask sends the request to r.
func (b *Body) ask(r relays.Choice, replies chan<- *question) *question {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(b.ctx))
	stop := context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })
	q := &question{
		relay: r, began: time.Now(), detach: stop, answered: make(chan struct{}),
		cancel: func() { stop(); cancel(context.Canceled) },
	}
	header := b.header(r.Standing)
	go func() {
		if err := guard.Try(func() error {
			q.stream, q.attempt = b.c.get(ctx, r.Relay, "/v1/objects/"+b.object.Digest.String(), header)
			return nil
		}); err != nil {
			q.attempt = Attempt{Relay: r.String(), Err: err}
		}
		if q.stream != nil {
			q.stream.release = q.cancel
		}
		close(q.answered)
		replies <- q // has room
	}()
	return q
}

// await returns the next reply. It returns nil if another relay is to be asked too: the relay that was asked is slow, or that one and its
// hedge are both silent.
func (b *Body) await(replies <-chan *question, open map[*question]bool, more bool) *question {
	if !more {
		return <-replies // each ends with ctx
	}
	patience := hedgeAfter
	if len(open) > 1 {
		patience = silentAfter
	}
	hedge := time.NewTimer(patience)
	defer hedge.Stop()
	for {
		select {
		case q := <-replies:
			return q
		case <-hedge.C:
			if b.c.hedges.take() {
				for q := range open {
					q.hedged = true
				}
				return nil
			}
			hedge.Reset(hedgeAfter)
		}
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
