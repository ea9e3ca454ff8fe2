package refresh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

// relayAsks is how many datasets the relays are asked about at a time: enough that one slow answer does not hold up
// the rest, few beside the connections that pulls need.
const relayAsks = 4

// catchUp is the loop's state of catching up.
type catchUp struct {
	backoff *backoff.ExponentialBackOff
	running bool
	reason  string    // why one is wanted; empty if none is
	retryAt time.Time // not before then
}

// ask is what the catcher is to do.
type ask struct {
	reason string
	bare   map[string]bool // the datasets of which nothing is served
}

// caughtUp is what the catcher found.
type caughtUp struct {
	reason  string
	records []dataset.VersionRecord
	err     error
}

// wantCatchUp asks for a catch-up that begins after now: one under way may have read the log before the reason arose.
func (e *Engine[T, D]) wantCatchUp(reason string) {
	e.catchUp.reason, e.catchUp.retryAt = reason, time.Time{}
}

func (e *Engine[T, D]) ask() {
	c := &e.catchUp
	a := ask{reason: c.reason, bare: make(map[string]bool)}
	for name, s := range e.sets {
		a.bare[name] = s.served.Load() == nil
	}
	c.running, c.reason = true, ""
	e.asks <- a // has room: no other is under way
}

func (e *Engine[T, D]) onCaughtUp(m *caughtUp) {
	c := &e.catchUp
	c.running = false
	for _, rec := range m.records {
		e.announced(rec)
	}
	if m.err == nil {
		c.backoff.Reset()
	} else if c.reason == "" {
		c.reason, c.retryAt = m.reason, time.Now().Add(c.backoff.NextBackOff())
	}
	e.deps.Watcher.CaughtUp(m.reason, m.err, c.retryAt)
}

func (e *Engine[T, D]) catcher(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-e.asks:
			m := &caughtUp{reason: a.reason}
			m.err = guard.Try(func() (err error) {
				m.records, err = e.newest(ctx, a)
				return err
			})
			select {
			case e.messages <- message[T, D]{caughtUp: m}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// newest asks the log for the newest versions, and the relays about the datasets that the log knows nothing of: it
// may have been deleted and made anew, and then forgets what the store still has. If the log does not answer, the
// relays are asked about datasets of which nothing is served. The others are served, and must not turn an outage of
// the log into polling.
func (e *Engine[T, D]) newest(ctx context.Context, a ask) ([]dataset.VersionRecord, error) {
	logCtx, cancel := context.WithTimeout(ctx, e.cfg.Stall)
	defer cancel()
	known, logErr := e.deps.Log.Latest(logCtx, e.cfg.Datasets)
	if logErr != nil {
		logErr = fmt.Errorf("ask the event log: %w", logErr)
	}
	var records []dataset.VersionRecord
	var unknown []string
	for _, name := range e.cfg.Datasets {
		rec, ok := known[name]
		switch {
		case ok:
			records = append(records, rec)
		case logErr == nil || a.bare[name]:
			unknown = append(unknown, name)
		}
	}

	relayCtx, cancel := context.WithTimeout(ctx, e.cfg.Stall)
	defer cancel()
	var mu sync.Mutex // guards records and errs
	errs := []error{logErr}
	asks := pool.New().WithMaxGoroutines(relayAsks)
	for _, name := range unknown {
		asks.Go(func() {
			rec, ok, err := e.deps.Relays.Latest(relayCtx, name)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				errs = append(errs, err)
			case ok:
				records = append(records, rec)
			}
		})
	}
	asks.Wait()
	return records, errors.Join(errs...)
}
