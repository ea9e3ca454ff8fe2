package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// maxMixed bounds how often damage to which several relays contributed is read anew without blaming any of them.
const maxMixed = 3

// Body is the bytes of an object, from as many relays as it takes. Its Read returns io.EOF only when exactly the
// expected number of bytes came. It is for one goroutine, and must be closed.
type Body struct {
	c      *Client
	ctx    context.Context
	object dataset.Object
	step   func()

	src   *stream // nil when a relay has to be found first
	got   int64   // bytes handed on, the place where to go on
	parts []part  // who gave them, in order
	err   error

	busy    map[*relays.Relay]busy
	dry     *Error // the last relay answered and then gave nothing; nil if it gave something
	dried   int    // how many did before the first byte
	mixed   int    // see maxMixed
	wrong   int64  // where the last relay that was blamed gave wrong bytes
	refused bool
	last    time.Time // when the last byte came
	paused  int64     // got at the last pause
	pauses  *backoff.ExponentialBackOff
}

// part is the bytes from a place on, up to the next part's, and who gave them.
type part struct {
	from  int64
	relay *relays.Relay
}

// busy is what a relay said that is to be left alone for a time.
type busy struct {
	until   time.Time
	attempt Attempt
}

// Relay returns the base URL, without its password, of the relay that gave the last bytes.
func (b *Body) Relay() string {
	if len(b.parts) == 0 {
		return ""
	}
	return b.parts[len(b.parts)-1].relay.String()
}

// Read reads on. When a connection breaks or stalls, or ends too early, it goes on where it broke at the next relay, or
// waits for one. It gives up when no byte came for the client's Patience, and then says what broke and why no relay
// went on.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.read(p)
	b.err = err
	return n, err
}

func (b *Body) read(p []byte) (int, error) {
	size := b.object.Bytes
	var broke error
	for {
		if b.src == nil {
			if b.got == size {
				return 0, io.EOF // the last connection broke after the last byte
			}
			if err := b.open(); err != nil {
				if broke != nil && b.ctx.Err() == nil {
					err = fmt.Errorf("%w; to go on from there: %w", broke, err)
				}
				return 0, err
			}
		}
		// One byte more than what remains tells a body that is too long.
		n, err := b.src.Read(p[:min(int64(len(p)), size-b.got+1)])
		if b.got+int64(n) > size {
			err = fmt.Errorf("%w: the body is longer than the %d bytes of the version record", ErrAnswer, size)
			b.refuse(b.src.from, err)
			n--
			b.got += int64(n)
			return n, err
		}
		b.got += int64(n)
		switch {
		case n > 0:
			b.last = time.Now()
			return n, nil // what err says, the next Read will say too
		case err == io.EOF && b.got == size:
			b.c.relays.Served(b.src.from)
			return 0, io.EOF
		case err == nil:
			continue
		}
		if broke = b.broken(err); b.ctx.Err() != nil {
			return 0, broke
		}
	}
}

// broken lets go of the stream, which ended too early, and says so.
func (b *Body) broken(err error) error {
	from := b.src.from
	b.src.Close()
	b.src = nil
	if err == io.EOF {
		err = fmt.Errorf("%w: the body of relay %s ends after %d of %d bytes: %w", ErrAnswer, from, b.got, b.object.Bytes, io.ErrUnexpectedEOF)
	} else {
		err = fmt.Errorf("read from relay %s after %d bytes: %w", from, b.got, err)
	}
	if b.ctx.Err() != nil {
		return err
	}
	b.c.relays.Fail(from, err)
	b.step()
	if last := len(b.parts) - 1; b.parts[last].from == b.got {
		b.parts = b.parts[:last]
		// Before the first byte nothing is lost by giving up, but each relay gets its turn.
		if b.dried++; b.got > 0 || b.dried >= len(b.c.relays.All()) {
			b.dry = &Error{What: b.what(), Attempts: []Attempt{{Relay: from.String(), Status: http.StatusOK, Err: err}}}
		}
	}
	return err
}

// Rewind says that what came from the byte off on is not what the object has there, as damage says: the relay that gave
// it is distrusted and reported, and reading goes on at off at another relay. It fails if there is no other, and then
// the body is of no more use. Bytes before off must have been proven right.
//
// If several relays gave these bytes, one of them may be innocent. Then they are read anew, which tells. If two relays in
// turn gave bytes that are wrong at off, it may be what came before that is wrong although it looked right: then the
// body fails too, and who gave that is asked after the others for a while.
func (b *Body) Rewind(off int64, damage error) error {
	from := b.gave(off, b.got)
	before := b.gave(0, off)
	switch {
	case len(from) > 1 && b.mixed < maxMixed:
		b.mixed++
	case off > 0 && off == b.wrong:
		b.refused = true
		for _, r := range before {
			b.c.relays.Fail(r, damage)
		}
		b.err = fmt.Errorf("what relay %s gave does not go on from what relay %s gave before", names(from), names(before))
		return b.err
	default:
		b.wrong = off
		for _, r := range from {
			b.refuse(r, fmt.Errorf("wrong bytes of object %s between %d and %d: %w", b.object.Digest, off, b.got, damage))
		}
	}
	b.refused = true
	if b.src != nil {
		b.src.Close()
		b.src = nil
	}
	for len(b.parts) > 0 && b.parts[len(b.parts)-1].from >= off {
		b.parts = b.parts[:len(b.parts)-1]
	}
	b.got, b.err = off, nil
	if !b.c.relays.Others() {
		b.err = fmt.Errorf("relay %s gave wrong bytes of object %s, and there is no other; if they are damaged in the store, not on the way, "+
			"a publish of all of the dataset's records heals it", names(from), b.object.Digest)
		return b.err
	}
	b.refused = false
	b.step()
	return nil
}

// Refuse says that the bytes are not those of the object, as err says, though each part looked right. All relays that
// gave some are distrusted. After a Rewind that failed it does nothing, for the blame is laid.
func (b *Body) Refuse(err error) {
	if b.refused {
		return
	}
	b.refused = true
	from := b.gave(0, b.got)
	if len(from) > 1 {
		err = fmt.Errorf("one of %s: %w", names(from), err)
	}
	for _, r := range from {
		b.refuse(r, err)
	}
}

// Doubt says that the bytes are of no use as err says, and that the relay may not be to blame. It is asked after the
// others for a while.
func (b *Body) Doubt(err error) {
	for _, r := range b.gave(0, b.got) {
		b.c.relays.Fail(r, err)
	}
}

func (b *Body) refuse(r *relays.Relay, err error) {
	b.c.relays.Refuse(r, err)
	b.c.blame.relay(r, b.object.Digest)
	if b.c.cfg.Refused != nil {
		b.c.cfg.Refused(Refusal{Relay: r.String(), Object: b.object, Err: err})
	}
}

// gave returns the relays that gave bytes between off and end, each once.
func (b *Body) gave(off, end int64) []*relays.Relay {
	var all []*relays.Relay
	for i := len(b.parts) - 1; i >= 0 && end > off; i-- {
		p := b.parts[i]
		if p.from < end && !slices.Contains(all, p.relay) {
			all = append(all, p.relay)
		}
		end = min(end, p.from)
	}
	return all
}

func names(all []*relays.Relay) string {
	var s []string
	for _, r := range all {
		s = append(s, r.String())
	}
	return strings.Join(s, " or ")
}

// Close releases the connection; it does not wait for the rest of the body.
func (b *Body) Close() error {
	if b.src != nil {
		b.src.Close()
		b.src = nil
	}
	if b.err == nil {
		b.err = errors.New("read from a closed body")
	}
	return nil
}
