package pull

import (
	"fmt"
	"sync"
	"time"
)

const (
	// hedgeAfter is how long a relay may take until the header of its answer before another relay is queried for the object too. A relay
	// that hangs then costs an object half a second instead of the header timeout.
	hedgeAfter = 400 * time.Millisecond
	// hedgeBurst, hedgeShare and hedgeEvery are the budget of useless hedges: that many, plus that share of the requests, plus one per
	// hedgeEvery. A slow store makes all relays slow, and hedges must not double its load then.
	hedgeBurst = 16
	hedgeShare = 0.05
	hedgeEvery = 30 * time.Second
)

// errSilent is the failure of a relay that was silent for silentAfter although another relay answered.
var errSilent = fmt.Errorf("no answer within %s, in which another relay answered", silentAfter)

// hedgeBudget limits a client's hedges. A hedge takes one, and returns it if the relay that it covers is silent or fails.
type hedgeBudget struct {
	mu   sync.Mutex // guards the fields below
	left float64
	at   time.Time // of the last update of left
}

func newHedgeBudget() *hedgeBudget { return &hedgeBudget{left: hedgeBurst, at: time.Now()} }

// add adds n to the budget. The caller holds mu.
func (h *hedgeBudget) add(n float64) {
	now := time.Now()
	h.left = min(hedgeBurst, h.left+n+now.Sub(h.at).Seconds()/hedgeEvery.Seconds())
	h.at = now
}

// countRequest adds the share of a request that is not a hedge.
func (h *hedgeBudget) countRequest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(hedgeShare)
}

// take takes a hedge from the budget, and reports whether one was left.
func (h *hedgeBudget) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.add(0); h.left < 1 {
		return false
	}
	h.left--
	return true
}

// refund returns the hedge that covers the failed request, if there is one.
func (h *hedgeBudget) refund(r *request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.hedged {
		r.hedged = false
		h.add(1)
	}
}

// endOvertaken ends the requests that are slower than the winner, which began later as their hedge. It leaves those whose relay is
// silent for less than silentAfter, and thus has not failed, to awaitOvertaken.
func (r *round) endOvertaken(winner *request) {
	for req := range r.open {
		switch {
		case winner.began.Sub(req.began) < hedgeAfter:
		case time.Since(req.began) >= silentAfter:
			r.c.failSilent(req)
		case req.detach():
			delete(r.open, req)
			go r.c.awaitOvertaken(req)
		}
	}
}

// awaitOvertaken waits for the answer to r, which outlives its round, until it is clear whether the relay is silent.
func (c *Client) awaitOvertaken(r *request) {
	late := time.NewTimer(time.Until(r.began.Add(silentAfter)))
	defer late.Stop()
	select {
	case <-r.answered:
		if r.attempt.Err != nil && c.recordFailure(r.relay.Relay, r.attempt) {
			c.hedges.refund(r)
		}
	case <-late.C:
		c.failSilent(r)
	case <-c.ctx.Done():
	}
	r.close()
}

// failSilent records that the relay did not answer r for silentAfter.
func (c *Client) failSilent(r *request) {
	c.fail(r.relay.Relay, errSilent)
	c.hedges.refund(r)
}
