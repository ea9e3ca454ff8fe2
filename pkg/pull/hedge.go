package pull

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// hedgeAfter is how long a relay may take to the header of its answer until another relay is asked for the object too. A relay that
	// hangs then costs an object half a second and not the header timeout.
	hedgeAfter = 400 * time.Millisecond
	// hedgeBurst, hedgeShare and hedgeEvery are the budget of hedges that were of no use: that many, and as many more as the share of the
	// requests, and one after each such time. A slow store makes all relays slow, and hedges must not double its load then.
	hedgeBurst = 16
	hedgeShare = 0.05
	hedgeEvery = 30 * time.Second
)

// errSilent is the failure of a relay that was silent for silentAfter although another relay answered.
var errSilent = fmt.Errorf("no answer within %s, in which another relay answered", silentAfter)

// hedges is the budget of a client's hedges. A hedge takes one of it, and returns it if the relay it covers proves to be silent or fails.
type hedges struct {
	mu   sync.Mutex // guards what follows
	left float64
	at   time.Time // when left was right
}

func newHedges() *hedges { return &hedges{left: hedgeBurst, at: time.Now()} }

// add adds n to the budget. The caller holds mu.
func (h *hedges) add(n float64) {
	now := time.Now()
	h.left = min(hedgeBurst, h.left+n+now.Sub(h.at).Seconds()/hedgeEvery.Seconds())
	h.at = now
}

// asked counts a request that is no hedge.
func (h *hedges) asked() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(hedgeShare)
}

// take takes a hedge from the budget, and reports whether there was one.
func (h *hedges) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.add(0); h.left < 1 {
		return false
	}
	h.left--
	return true
}

// settle returns the hedge that covers q, if there is one, because q failed.
func (h *hedges) settle(q *question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if q.hedged {
		q.hedged = false
		h.add(1)
	}
}

// overtaken ends the questions that the winner, which was asked later because they were slow, overtook. A relay has failed only if it is
// silent for silentAfter.
func (b *Body) overtaken(open map[*question]bool, winner *question) {
	for q := range open {
		switch {
		case winner.began.Sub(q.began) < hedgeAfter:
		case time.Since(q.began) >= silentAfter:
			b.c.silent(q)
		case q.detach():
			delete(open, q)
			go b.c.outlast(q)
		}
	}
}

// outlast waits for the reply to q, which outlives its pull, until it is clear whether the relay is silent.
func (c *Client) outlast(q *question) {
	late := time.NewTimer(time.Until(q.began.Add(silentAfter)))
	defer late.Stop()
	select {
	case <-q.answered:
		if a := q.attempt; a.Err != nil && !a.busy() && !a.damaged && a.Status != http.StatusNotFound {
			c.relays.Fail(q.relay.Relay, a.Err)
			c.hedges.settle(q)
		}
	case <-late.C:
		c.silent(q)
	case <-c.ctx.Done():
	}
	q.end()
}

// silent records that the relay did not answer q for silentAfter.
func (c *Client) silent(q *question) {
	c.relays.Fail(q.relay.Relay, errSilent)
	c.hedges.settle(q)
}
