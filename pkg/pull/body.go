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

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/relays"
)

// maxRereads limits how often damage in bytes of several relays is read again before all of them are refused.
const maxRereads = 3

// Body is the bytes of an object, or of a range of it, from as many relays as necessary. Its Read returns io.EOF only after
// exactly the expected number of bytes. It must not be used concurrently, and must be closed.
type Body struct {
	c         *Client
	ctx       context.Context
	object    dataset.Object // of a range, the digest only
	end       int64
	ranged    bool // see Range
	heartbeat func()

	src    *stream // nil when another relay must be found
	at     int64   // offset of the next byte
	parts  []part  // in order
	breaks int     // answers that ended too early
	err    error

	busy     map[*relays.Relay]busy
	empty    *Error    // the last relay answered without a byte; nil if it sent some
	rereads  int       // see maxRereads
	wrongAt  int64     // offset of the last wrong bytes for which relays were refused
	reported bool      // damage was reported to Rewind or Refuse
	lastByte time.Time // when it came
	pausedAt int64     // at during the last pause
	backoff  *backoff.Backoff
}

// part is the bytes from an offset up to the next part, and the relay that sent them.
type part struct {
	from  int64
	relay *relays.Relay
}

// busy is the answer of a busy relay.
type busy struct {
	until   time.Time
	attempt Attempt
}

// Relay returns the base URL, without its password, of the relay that sent the last bytes.
func (b *Body) Relay() string {
	if len(b.parts) == 0 {
		return ""
	}
	return b.parts[len(b.parts)-1].relay.String()
}

// Read reads from the body. When a connection breaks or stalls, or ends too early, Read continues at that byte at the next
// relay, or waits for one. It fails when no byte came for the client's Patience; the error then says what broke and how
// the relays failed.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.read(p)
	b.err = err
	return n, err
}

func (b *Body) read(p []byte) (int, error) {
	limit := b.end
	if !b.ranged {
		limit++ // one more byte shows a body that is too long
	}
	var broke error
	for {
		if b.at == b.end && (b.ranged || b.src == nil) {
			return 0, io.EOF
		}
		if b.src == nil {
			if err := b.open(); err != nil {
				if broke != nil && b.ctx.Err() == nil {
					err = fmt.Errorf("%w; retry: %w", broke, err)
				}
				return 0, err
			}
		}
		n, err := b.src.Read(p[:min(int64(len(p)), limit-b.at)])
		b.at += int64(n)
		switch {
		case b.at > b.end:
			b.at = b.end
			err = fmt.Errorf("%w: the body is longer than the %d bytes of the version record", ErrAnswer, b.end)
			b.refuse(b.src.from, err)
			return n - 1, err
		case n > 0:
			b.lastByte = time.Now()
			if b.at == b.end {
				b.c.served(b.src.from)
			}
			return n, nil // the next Read returns err
		case err == io.EOF && b.at == b.end:
			return 0, io.EOF
		case err == nil:
			continue
		}
		broke = b.broken(err)
		if b.ctx.Err() != nil || b.ranged && b.breaks > len(b.c.relays.All()) {
			return 0, broke
		}
	}
}

// broken closes the stream, which ended too early with err, and returns the error of that.
func (b *Body) broken(err error) error {
	from := b.src.from
	b.src.Close()
	b.src = nil
	if err == io.EOF {
		err = fmt.Errorf("%w: %w", ErrAnswer, io.ErrUnexpectedEOF)
	}
	err = fmt.Errorf("the body from relay %s ends at byte %d of %d: %w", from, b.at, b.end, err)
	if canceled(b.ctx) {
		return err
	}
	b.c.fail(from, err)
	b.heartbeat()
	b.breaks++
	if last := len(b.parts) - 1; b.parts[last].from == b.at {
		b.parts = b.parts[:last]
		// Before the first byte nothing is lost by an error, but each relay is queried first. A range is read on without pauses.
		if !b.ranged && (b.at > 0 || b.breaks >= len(b.c.relays.All())) {
			b.empty = &Error{What: b.what(), Attempts: []Attempt{{Relay: from.String(), Status: http.StatusOK, Err: err}}}
		}
	}
	return err
}

// Rewind reports that the bytes from off on are not those of the object, as damage describes. The relay that sent them is
// distrusted and reported, and reading continues at off at another relay. If there is no other relay, Rewind fails, and the
// body is unusable. The bytes before off must be proven correct.
//
// If several relays sent the bytes, some of them may be innocent: the bytes are read again first, which shows the culprit.
// If two relays in turn sent wrong bytes at off, the bytes before off may be wrong although they looked correct. Then the
// body fails too, and the relays that sent those rank after the others for a while.
func (b *Body) Rewind(off int64, damage error) error {
	from := b.sources(off, b.at)
	before := b.sources(0, off)
	switch {
	case len(from) > 1 && b.rereads < maxRereads:
		b.rereads++
	case off > 0 && off == b.wrongAt:
		b.reported = true
		for _, r := range before {
			b.c.fail(r, damage)
		}
		b.err = fmt.Errorf("the bytes from relay %s do not continue those from relay %s", names(from), names(before))
		return b.err
	default:
		b.wrongAt = off
		for _, r := range from {
			b.refuse(r, fmt.Errorf("wrong bytes of object %s between %d and %d: %w", b.object.Digest, off, b.at, damage))
		}
	}
	b.reported = true
	if b.src != nil {
		b.src.Close()
		b.src = nil
	}
	for len(b.parts) > 0 && b.parts[len(b.parts)-1].from >= off {
		b.parts = b.parts[:len(b.parts)-1]
	}
	b.at, b.breaks, b.err = off, 0, nil
	if !b.c.relays.AnyTrusted() {
		b.err = fmt.Errorf("relay %s sent wrong bytes of object %s, and there is no other relay; if the object is damaged in the store, "+
			"a publish of all records of the dataset heals it", names(from), b.object.Digest)
		return b.err
	}
	b.reported = false
	b.heartbeat()
	return nil
}

// Refuse reports that the bytes are not those of the object, as err describes, although each part looked correct. All
// relays that sent some are distrusted. After a failed Rewind it does nothing, because the damage is already reported.
func (b *Body) Refuse(err error) {
	if b.reported {
		return
	}
	b.reported = true
	from := b.sources(0, b.at)
	if len(from) > 1 {
		err = fmt.Errorf("one of %s: %w", names(from), err)
	}
	for _, r := range from {
		b.refuse(r, err)
	}
}

// Doubt reports that the bytes are unusable, as err describes, and that the cause may not be the relay. The relays that
// sent them rank after the others for a while.
func (b *Body) Doubt(err error) {
	for _, r := range b.sources(0, b.at) {
		b.c.fail(r, err)
	}
}

func (b *Body) refuse(r *relays.Relay, err error) {
	b.c.relays.Refuse(r, err)
	b.c.suspects.addRefused(r, b.object.Digest)
	b.c.cfg.Refused(Refusal{Relay: r.String(), Object: b.object, Err: err})
}

// sources returns the relays that sent bytes between off and end, each once.
func (b *Body) sources(off, end int64) []*relays.Relay {
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

// Close releases the connection. It does not wait for the rest of the body.
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
