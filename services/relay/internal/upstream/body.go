package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// body is a part of an object, from as many relays as it takes.
type body struct {
	origin  *Origin
	ctx     context.Context
	digest  dataset.Digest
	at, end int64 // what is still to be read

	src    *answer // nil when a relay has to be found first
	breaks int     // how often a relay broke off
	err    error
}

// open finds a relay that gives what is still to be read.
func (b *body) open() error {
	return b.origin.first(b.ctx, b.digest[:], func(q question) error {
		a, err := q.ask(http.MethodGet, objectPath(b.digest), http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", b.at, b.end-1)}})
		if err != nil {
			return err
		}
		if err := checkPart(a.res, b.digest, b.at, b.end); err != nil {
			a.Close()
			return err
		}
		a.limit(0)
		b.src = a
		return nil
	})
}

// checkPart says why res is not the bytes from .. to-1 of the object.
func checkPart(res *http.Response, digest dataset.Digest, from, to int64) error {
	if err := checkETag(res, digest); err != nil {
		return err
	}
	want := fmt.Sprintf("bytes %d-%d/", from, to-1)
	switch part := res.Header.Get("Content-Range"); {
	case res.StatusCode == http.StatusOK && from == 0 && res.ContentLength == to: // the whole, from what knows no ranges
	case res.StatusCode == http.StatusOK:
		return fmt.Errorf("%w: it sends the whole object where a range was asked for; a proxy must pass ranges on", ErrAnswer)
	case !strings.HasPrefix(part, want), res.ContentLength >= 0 && res.ContentLength != to-from:
		return fmt.Errorf("%w: Content-Range is %.80q and the length %d, want %s", ErrAnswer, part, res.ContentLength, want)
	}
	return nil
}

// Read reads on. When a relay breaks off it goes on where that was.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	for b.at < b.end {
		b.src.limit(b.stall())
		n, err := b.src.Read(p[:min(int64(len(p)), b.end-b.at)])
		b.src.limit(0) // who reads slowly is not stalled
		b.at += int64(n)
		if b.at == b.end {
			b.origin.served(b.src.relay)
		}
		if n > 0 {
			return n, nil // what err says, the next Read will say too
		}
		if err == nil {
			continue
		}
		if b.err = b.goOn(err); b.err != nil {
			return 0, b.err
		}
	}
	return 0, io.EOF
}

// stall returns how long a relay may give no byte: half of what all have, so that another can go on.
func (b *body) stall() time.Duration {
	if len(b.origin.seen) == 1 {
		return 0
	}
	return b.origin.cfg.Timeout / 2
}

// goOn finds a relay for the rest, after err broke off the reading.
func (b *body) goOn(err error) error {
	relay := b.src.relay
	b.src.Close()
	b.src = nil
	if err == io.EOF {
		err = errors.New("its answer is too short")
	}
	// The caller, whose end of the bytes is another, must not see this one.
	broke := b.origin.note(b.ctx, relay, fmt.Errorf("it broke off before byte %d of object %s: %v", b.at, b.digest, err))
	// As often as there are relays, and not for ever: each may break off every time.
	if b.breaks++; b.ctx.Err() != nil || b.breaks > len(b.origin.seen) {
		return broke
	}
	switch err := b.open(); {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound): // but one had it
		return fmt.Errorf("%w; to go on from there: %v", broke, err)
	default:
		return fmt.Errorf("%w; to go on from there: %w", broke, err)
	}
}

// Close ends the reading.
func (b *body) Close() error {
	if b.src != nil {
		b.src.Close()
		b.src = nil
	}
	if b.err == nil {
		b.err = errors.New("read from a closed body")
	}
	return nil
}
