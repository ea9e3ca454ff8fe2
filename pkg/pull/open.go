package pull

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"freshet.dev/pkg/relays"
)

// The pause between two rounds over the relays. It is short at first because a restarted relay or a connection that broke
// by chance is back at once. At its maximum, 1,000 clients of a relay that is down send 200 requests a second.
const (
	minBackOff = 100 * time.Millisecond
	maxBackOff = 5 * time.Second
)

// open finds a relay that has the bytes from b.at on. Only for a whole object it makes further rounds over the relays, while
// one of them is busy or if some bytes came before.
func (b *Body) open() error {
	r := round{
		c: b.c, ctx: b.ctx, what: b.what(), key: b.object.Digest[:], query: b.query, judge: b.judge, hedged: !b.ranged, busy: b.busy, heartbeat: b.heartbeat,
	}
	failed := b.empty
	b.empty = nil
	for {
		if failed != nil {
			pause, ok := b.pause(failed)
			if !ok {
				return failed
			}
			if err := b.sleep(pause); err != nil {
				return err
			}
		}
		err := r.run()
		var again bool
		if failed, again = err.(*Error); !again || b.ranged {
			return err
		}
	}
}

// judge makes s the source of b if its bytes continue at b.at, and otherwise records why not.
func (b *Body) judge(r *relays.Relay, s *stream, a Attempt) Attempt {
	if a.Err == nil {
		a.Err = b.accept(s)
	}
	switch {
	case a.Err == nil:
		b.src = s
		b.parts = append(b.parts, part{b.at, r})
		delete(b.busy, r)
		b.c.suspects.clearDamaged(b.object.Digest)
	case a.Busy() && !b.ranged:
		b.busy[r] = busy{time.Now().Add(a.RetryAfter), a}
	case a.damaged():
		b.c.suspects.addDamaged(b.c, r, b.object.Digest, a.Err)
	}
	return a
}

func (b *Body) what() string { return "object " + b.object.Digest.String() }

// query returns the request for the missing bytes of this object (RFC 9110, sections 13.1.5 and 14.2). A distrusted relay
// may have received wrong bytes itself: the request makes it bypass its cache (RFC 9111, section 5.2.1.4), which would
// return the same bytes forever.
func (b *Body) query(standing relays.Standing) query {
	h := http.Header{}
	switch {
	case b.ranged:
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", b.at, b.end-1))
	case b.at > 0:
		h.Set("Range", fmt.Sprintf("bytes=%d-", b.at))
		h.Set("If-Range", etag(b.object.Digest))
	}
	if standing == relays.Distrusted || b.c.suspects.isDamaged(b.object.Digest) {
		h.Set("Cache-Control", "no-cache")
	}
	return query{path: objectPath(b.object.Digest), header: h}
}

// accept returns an error if the bytes of s do not continue at b.at. It skips those before.
func (b *Body) accept(s *stream) error {
	if err := b.check(s.res); err != nil {
		return err
	}
	if b.at > 0 && s.res.StatusCode == http.StatusOK {
		// The relay, or a proxy in front of it, does not support ranges.
		for skip := b.at; skip > 0; {
			n, err := io.CopyN(io.Discard, s, min(skip, 1<<20))
			skip -= n
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return fmt.Errorf("skip the first %d bytes: %w", b.at, err)
			}
			b.heartbeat()
		}
	}
	return nil
}

// pause returns how long to wait after a failed round, and false if another round is useless.
func (b *Body) pause(failed *Error) (time.Duration, bool) {
	if failed.notFound() || b.at == 0 && !failed.busy() {
		return 0, false
	}
	if b.at > b.pausedAt {
		b.backoff.Reset() // bytes came since the last pause
	}
	b.pausedAt = b.at
	pause := b.backoff.Next()
	if b.at == 0 || failed.allBusy() {
		// The jitter is added: no relay is queried before the time that it named, and clients with the same time spread.
		pause += b.untilFree()
	}
	return pause, time.Since(b.lastByte)+pause <= b.c.cfg.Patience
}

// untilFree returns the time until the first busy relay may be queried again.
func (b *Body) untilFree() time.Duration {
	var first time.Time
	for _, last := range b.busy {
		if first.IsZero() || last.until.Before(first) {
			first = last.until
		}
	}
	return max(0, time.Until(first))
}

// sleep waits for d, with heartbeats.
func (b *Body) sleep(d time.Duration) error {
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(max(b.c.cfg.StallTimeout/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-end.C:
			b.heartbeat()
			return nil
		case <-tick.C:
			b.heartbeat()
		case <-b.ctx.Done():
			return fmt.Errorf("pull %s: %w", b.what(), context.Cause(b.ctx))
		}
	}
}
