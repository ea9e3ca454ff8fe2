// Package upstream reads objects and newest versions from other relays, so that relays stand in tiers: some near the
// store, and some in each place that has instances.
//
// A relay reads segments, each for many instances, and passes on what it reads; so unlike package pull this one asks for
// parts of objects, and leaves it to the instances to check digests.
//
// # Several relays
//
// They are asked in the order that instances have too (package relays): each object is one relay's, however many relays
// read from these, and a relay that failed lately is asked last. The next one is asked when a relay
//
//   - is down, or silent for half of the time that is left;
//   - is busy (503, 429), which also is what one says that has lost the store: that is no failure;
//   - answers anything else but what was asked for;
//   - says that there is none (404). That is believed when nobody who answered says otherwise: a relay that is cut off
//     from the store does not say 404, and one that is down for good must not make of every 404 a failure.
//
// Relays that read different stores never mix: newest versions and the store's id are those of one store, see [Origin.ID].
//
// A read that breaks off goes on at the byte where it broke, at the next relay or again at the same, so that the responses
// that wait for it are not cut.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
	"freshet.dev/pkg/store"
	"github.com/sourcegraph/conc/pool"
)

var (
	// ErrURL: a URL is not that of a relay, or stands twice.
	ErrURL = errors.New("not the URLs of relays")
	// ErrBusy: a relay said that it has too much to do, and no other has what was asked for; it can be asked again in a
	// moment.
	ErrBusy = errors.New("the relay upstream is busy")
	// ErrAnswer: a relay answered, but not with what was asked for.
	ErrAnswer = errors.New("unusable answer of the relay upstream")
)

const (
	// dialTimeout is as short as an instance's: relays are near one another, or at least reachable in this time.
	dialTimeout = 3 * time.Second
	// idleTimeout outlasts the pause between two versions of a busy dataset.
	idleTimeout = 90 * time.Second
)

// Config says which relays to read from.
type Config struct {
	// Relays are the base URLs of the relays, in any order, each once. Relays that are to ask the same relay for the same
	// object write its URL the same way.
	Relays []string
	// Connections bounds the connections to each relay.
	Connections int
	// Timeout is how long all relays together may take for the beginning of an object, and then for each next byte, where
	// the caller's context has no deadline.
	Timeout time.Duration
	// Log is told when a relay fails that did not before, and when it is back.
	Log *slog.Logger
}

// Origin is the relays that another reads from. Its methods may be called concurrently; their contexts bound them.
type Origin struct {
	cfg    Config
	relays *relays.Set
	seen   map[*relays.Relay]*seen
	http   *http.Client

	mu    sync.Mutex
	store dataset.StoreID // that the answers are of; zero until a relay names one; guarded by mu
}

// New returns the origin that cfg describes. It dials nothing yet.
func New(cfg Config) (*Origin, error) {
	set, err := relays.New(cfg.Relays, 0) // a relay cannot tell wrong bytes from right ones: it distrusts nobody
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	o := &Origin{cfg: cfg, relays: set, seen: make(map[*relays.Relay]*seen)}
	for _, r := range set.All() {
		for other := range o.seen {
			if r.Same(other) {
				return nil, fmt.Errorf("%w: %s stands twice", ErrURL, r)
			}
		}
		o.seen[r] = new(seen)
	}
	if len(o.seen) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrURL)
	}
	o.http = &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        cfg.Connections,
		MaxIdleConnsPerHost:    cfg.Connections,
		MaxResponseHeaderBytes: 64 << 10,
		// Objects are compressed inside, and their length is checked as sent.
		DisableCompression: true,
	}}
	return o, nil
}

// Close closes idle connections.
func (o *Origin) Close() error {
	o.http.CloseIdleConnections()
	return nil
}

// StatObject returns the object's size, or store.ErrNotFound.
func (o *Origin) StatObject(ctx context.Context, digest dataset.Digest) (size int64, err error) {
	err = o.first(ctx, digest[:], func(q question) error {
		a, err := q.ask(http.MethodHead, objectPath(digest), nil)
		if err != nil {
			return err
		}
		defer a.Close()
		if err := checkETag(a.res, digest); err != nil {
			return err
		}
		if size = a.res.ContentLength; size < 0 {
			return fmt.Errorf("%w: no Content-Length", ErrAnswer)
		}
		return nil // a relay that knows the size may still fail to give a byte: it has not served by this
	})
	return size, err
}

// OpenObject returns a reader of length bytes from offset on.
func (o *Origin) OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	b := &body{origin: o, ctx: ctx, digest: digest, at: offset, end: offset + length}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// DamagedHeader is the header in which a relay says how an object is damaged in its store, as an answer to HEAD has no problem
// document.
const DamagedHeader = "Freshet-Damaged"

// damaged is what a relay says in DamagedHeader.
type damaged string

func (d damaged) Error() string        { return string(d) }
func (d damaged) Is(target error) bool { return target == store.ErrDamaged }

// Recheck asks the relays to read the object again from their own origin: all of them, because each may have given a part
// of it while another was down. It returns an error that wraps [store.ErrDamaged] if every relay that has the object says that the store
// holds other bytes.
func (o *Origin) Recheck(ctx context.Context, digest dataset.Digest) error {
	var mu sync.Mutex
	var why []error // guarded by mu
	whole := false  // guarded by mu
	all := pool.New()
	for _, r := range o.relays.All() {
		all.Go(func() {
			a, err := question{o, r, ctx, 0}.ask(http.MethodHead, objectPath(digest), http.Header{"Cache-Control": {"no-cache"}})
			switch {
			case err == nil:
				a.Close()
			case errors.Is(err, errNone):
				return
			case errors.Is(err, store.ErrDamaged):
				err = fmt.Errorf("relay %s: %w", r, err)
			case ctx.Err() != nil:
				err = fmt.Errorf("relay %s: %w", r, context.Cause(ctx)) // to read an object takes a while
			default:
				err = o.note(ctx, r, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				whole = true
				return
			}
			why = append(why, err)
		})
	}
	all.Wait()
	err := errors.Join(why...)
	if whole && errors.Is(err, store.ErrDamaged) {
		return nil // at another relay it is not
	}
	return err
}

func objectPath(digest dataset.Digest) string { return "/v1/objects/" + digest.String() }

// Health is how a relay did.
type Health struct {
	relays.Health
	// Busy counts how often it said that it has too much to do, or that it has no store now.
	Busy int64
	// OtherStore says that it reads another store than the one that the answers of the origin are of.
	OtherStore bool
}

// Health returns how each relay did, in the configured order.
func (o *Origin) Health() []Health {
	all := make([]Health, len(o.seen))
	for i, h := range o.relays.Health() {
		s := o.seen[o.relays.All()[i]]
		all[i] = Health{h, s.busy.Load(), s.other.Load() != nil}
	}
	return all
}

// note takes note that the relay could not be had, and returns why with its name.
func (o *Origin) note(ctx context.Context, r *relays.Relay, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if !errors.Is(cause, context.DeadlineExceeded) {
			return cause // who asked has left, which is nobody's fault
		}
		err = cause
	}
	err = fmt.Errorf("relay %s: %w", r, err)
	switch {
	case errors.Is(err, errNone), errors.Is(err, errOther), errors.Is(err, errUnproven):
	case errors.Is(err, ErrBusy):
		o.seen[r].busy.Add(1)
	case o.relays.Fail(r, err):
		o.cfg.Log.Warn("a relay upstream fails, and is asked after the others for a while", "upstream", r.String(), "error", err.Error())
	}
	return err
}

// served takes note that the relay gave all that was asked for.
func (o *Origin) served(r *relays.Relay) {
	if o.relays.Served(r) {
		o.cfg.Log.Info("a relay upstream serves again", "upstream", r.String())
	}
}
