// Package upstream makes other relays the store of a relay, so that relays stand in tiers: some near the store, and some in
// each place that has instances. Package pull reads from them.
//
// A relay reads ranges of objects, each for many instances, and leaves it to the instances to check digests. It asks the
// same relay first for an object as instances do, and the next one when a relay
//
//   - is down, or silent for half of the remaining time;
//   - is busy (503 or 429), as it also is without its store: that is not a failure;
//   - sends an unusable answer;
//   - answers 404. The object does not exist if a relay answers 404 and no relay answers otherwise: a relay that cannot
//     reach its store does not answer 404, and one relay that is down must not turn every 404 into a failure.
//
// Relays of different stores never mix: newest versions and the store's id belong to one store, see [Origin.ID].
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/relays"
	"freshet.dev/pkg/store"
)

var (
	// ErrURL is returned by New for a URL that is not that of a relay, or is listed twice.
	ErrURL = errors.New("not the URLs of relays")
	// ErrBusy is returned when a relay is busy and no other has the requested thing. A retry may succeed in a moment.
	ErrBusy = errors.New("the relay upstream is busy")
	// ErrAnswer is returned when a relay sends an unusable answer.
	ErrAnswer = pull.ErrAnswer

	// errOther is the error of an answer from another store than the origin's.
	errOther = errors.New("the relay reads another store")
	// errUnproven is the error of an answer without a store's id.
	errUnproven = errors.New("the relay does not name its store, which it cannot read now")
)

// Config configures an [Origin].
type Config struct {
	// Relays are the base URLs of the relays, in any order, each once. A URL must be written the same way in all relays that
	// read from it.
	Relays []string
	// Connections limits the connections to each relay.
	Connections int
	// Timeout is the time of all relays together until an object begins, and then for each next byte, if the caller's
	// context has no deadline.
	Timeout time.Duration
	// Log receives a message when a relay fails for the first time since it last served, and when it serves again.
	Log *slog.Logger
	// Transport sends the requests. Nil means a transport with its own connections.
	Transport http.RoundTripper
}

// Origin reads from other relays. Its methods may be called concurrently; their contexts limit them.
type Origin struct {
	client *pull.Client
	log    *slog.Logger

	mu    sync.Mutex
	store dataset.StoreID            // of the answers; zero until a relay names one; guarded by mu
	other map[string]dataset.StoreID // the stores of relays that read another store, by relay; guarded by mu
}

// New returns the origin that cfg describes. It opens no connection.
func New(cfg Config) (*Origin, error) {
	set, err := relays.New(cfg.Relays, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	for i, r := range set.All() {
		if slices.ContainsFunc(set.All()[:i], r.Same) {
			return nil, fmt.Errorf("%w: %s is listed twice", ErrURL, r)
		}
	}
	o := &Origin{log: cfg.Log, other: make(map[string]dataset.StoreID)}
	o.client, err = pull.New(pull.Config{
		Relays: cfg.Relays, TotalTimeout: cfg.Timeout, MaxConnections: cfg.Connections, UserAgent: "freshet-relay", Transport: cfg.Transport, Changed: o.changed,
		RetryAfter: time.Second, // any: a range read queries busy relays again
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	return o, nil
}

func (o *Origin) changed(relay string, err error) {
	if err != nil {
		o.log.Warn("a relay upstream fails, and ranks after the others for a while", "upstream", relay, "error", err.Error())
	} else {
		o.log.Info("a relay upstream serves again", "upstream", relay)
	}
}

// Close closes idle connections.
func (o *Origin) Close() error {
	o.client.Close()
	return nil
}

// StatObject returns the object's size, or [store.ErrNotFound].
func (o *Origin) StatObject(ctx context.Context, digest dataset.Digest) (int64, error) {
	size, err := o.client.Size(ctx, digest)
	return size, failed(ctx, err, false)
}

// OpenObject returns a reader of length bytes from offset on. When a relay breaks off, the reader continues at that byte
// at the next relay, or again at the same, so that the responses that wait for it do not break.
func (o *Origin) OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	b, err := o.client.Range(ctx, digest, offset, offset+length)
	if err != nil {
		return nil, failed(ctx, err, false)
	}
	return body{b, ctx}, nil
}

// body converts the errors of Read.
type body struct {
	*pull.Body
	ctx context.Context
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err != io.EOF {
		err = failed(b.ctx, err, true)
	}
	return n, err
}

// Recheck makes all relays read the object again from their own origins, because each may have sent a part of it while
// another was down. Its error wraps [store.ErrDamaged] if every relay that has the object reports damage in the store.
func (o *Origin) Recheck(ctx context.Context, digest dataset.Digest) error {
	err := o.client.Recheck(ctx, digest)
	if errors.Is(err, pull.ErrDamaged) {
		return damaged{err}
	}
	return err
}

// damaged is an error that is [store.ErrDamaged].
type damaged struct{ error }

func (damaged) Is(target error) bool { return target == store.ErrDamaged }

// Health is the health of a relay.
type Health struct {
	relays.Health
	// OtherStore is true if the relay reads another store than that of the origin's answers.
	OtherStore bool
}

// Health returns the health of each relay, in the configured order.
func (o *Origin) Health() []Health {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []Health
	for _, h := range o.client.Health() {
		_, other := o.other[h.Relay]
		all = append(all, Health{h, other})
	}
	return all
}

// failed returns the error of a call as a store has it: the cause if the caller canceled ctx, or an error of one of the kinds
// that callers know. It hides the relays' errors from errors.Is: an io.EOF or one relay's 404 would mislead the caller.
// begun is true if a relay sent bytes of the object, which thus exists.
func failed(ctx context.Context, err error, begun bool) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	var all pull.Error
	if e := &all; errors.As(err, &e) {
		all = *e
	}
	busy, unusable := slices.ContainsFunc(all.Attempts, pull.Attempt.Busy), slices.ContainsFunc(all.Attempts, unusable)
	switch {
	case !begun && !busy && !unusable && slices.ContainsFunc(all.Attempts, lacks):
		return fmt.Errorf("%w: %v", store.ErrNotFound, err)
	case busy:
		return fmt.Errorf("%w: %v", ErrBusy, err)
	case unusable:
		return fmt.Errorf("%w: %v", ErrAnswer, err)
	case errors.Is(err, pull.ErrStalled):
		return fmt.Errorf("%w: %v", pull.ErrStalled, err)
	}
	return errors.New(err.Error())
}

// lacks reports whether the relay answered that there is no such thing.
func lacks(a pull.Attempt) bool {
	return a.Status == http.StatusNotFound && !errors.Is(a.Err, errOther)
}

// unusable reports whether the relay sent an answer that is neither usable nor 404 nor busy.
func unusable(a pull.Attempt) bool {
	return a.Status != 0 && a.Status != http.StatusNotFound && !a.Busy() && !errors.Is(a.Err, errOther) && !errors.Is(a.Err, errUnproven)
}
