package pull

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"

	"freshet.dev/pkg/relays"
)

// Pauses between two rounds over the relays, each give or take half: short at first, because a relay that restarts or a
// connection that broke by chance is back at once, and up to a length at which 1,000 clients of a relay that is down are
// 200 requests a second.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

func newPauses() *backoff.ExponentialBackOff {
	p := &backoff.ExponentialBackOff{InitialInterval: firstPause, MaxInterval: maxPause, Multiplier: 2, RandomizationFactor: 0.5}
	p.Reset()
	return p
}

// open finds a relay that has the object from b.got on. As long as a relay says that it is busy, or after some bytes
// came, it asks again; otherwise one round over the relays settles it.
func (b *Body) open() error {
	failed := b.dry
	b.dry = nil
	for {
		if failed != nil {
			pause, ok := b.pause(failed)
			if !ok {
				return failed
			}
			if err := b.wait(pause); err != nil {
				return err
			}
		}
		var err error
		if failed, err = b.round(); failed == nil {
			return err
		}
	}
}

func (b *Body) what() string { return "object " + b.object.Digest.String() }

// header returns the header fields that ask for what is missing, of these very bytes (RFC 9110, sections 13.1.5 and
// 14.2). A relay that is distrusted may have been given the wrong bytes itself: it is asked for what it has no longer in
// its cache (RFC 9111, section 5.2.1.4), or it would give them for ever.
func (b *Body) header(standing relays.Standing) http.Header {
	h := http.Header{}
	if b.got > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", b.got))
		h.Set("If-Range", etag(b.object))
	}
	if standing == relays.Distrusted || b.c.blame.isStore(b.object.Digest) {
		h.Set("Cache-Control", "no-cache")
	}
	return h
}

// accept takes s if it goes on at b.got.
func (b *Body) accept(s *stream) error {
	if err := checkObject(s.res, b.object, b.got); err != nil {
		return err
	}
	if b.got > 0 && s.res.StatusCode == http.StatusOK {
		// The relay, or a proxy before it, knows no ranges.
		for skip := b.got; skip > 0; {
			n, err := io.CopyN(io.Discard, s, min(skip, 1<<20))
			skip -= n
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return fmt.Errorf("pass over the %d bytes that came before: %w", b.got, err)
			}
			b.step()
		}
	}
	b.src = s
	b.parts = append(b.parts, part{b.got, s.from})
	delete(b.busy, s.from)
	return nil
}

// pause returns how long to wait after a round that failed, and whether that is worth it.
func (b *Body) pause(failed *Error) (time.Duration, bool) {
	if failed.notFound() || b.got == 0 && !failed.busy() {
		return 0, false
	}
	if b.got > b.paused {
		b.pauses.Reset() // bytes came since the last time
	}
	b.paused = b.got
	pause := b.pauses.NextBackOff()
	if b.got == 0 || failed.allBusy() {
		// The jitter comes on top: no relay is asked before the time it named, and clients that were told the same do not
		// come back together.
		pause += b.soonest()
	}
	return pause, time.Since(b.last)+pause <= b.c.cfg.Patience
}

// soonest returns how long it is until the first busy relay may be asked again.
func (b *Body) soonest() time.Duration {
	var first time.Time
	for _, said := range b.busy {
		if first.IsZero() || said.until.Before(first) {
			first = said.until
		}
	}
	return max(0, time.Until(first))
}

// wait waits for d. Every now and then it takes a step, to show that it waits and does not hang.
func (b *Body) wait(d time.Duration) error {
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(max(b.c.cfg.StallTimeout/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-end.C:
			b.step()
			return nil
		case <-tick.C:
			b.step()
		case <-b.ctx.Done():
			return fmt.Errorf("pull %s: %w", b.what(), context.Cause(b.ctx))
		}
	}
}
