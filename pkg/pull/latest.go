package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// Newest is one relay's answer for the newest version of a dataset.
type Newest struct {
	Relay string // base URL without its password
	// Store is the store that the relay reads; zero if the relay does not name it, as one of an earlier release.
	Store dataset.StoreID
	// Record is the newest version; its Version is 0 if the relay answered that there is none.
	Record dataset.VersionRecord
}

// Accept returns an error for an answer that does not count. The next relay is queried then, and the relay has not failed.
// It is also called for the answer that there is none (none is true), after which the next relay is queried in any case.
type Accept func(n Newest, none bool) error

// Latest returns the record of the dataset's newest version from the first relay that has one. The error is [ErrNotFound]
// if every relay answers that there is none.
func (c *Client) Latest(ctx context.Context, name string) (rec dataset.VersionRecord, err error) {
	err = c.LatestInOrder(ctx, name, func(n Newest, _ bool) error {
		rec = n.Record
		return nil
	})
	return rec, err
}

// LatestInOrder queries one relay after another for the newest version of the dataset, until accept accepts an answer.
// Its error is an *[Error], or ctx's.
func (c *Client) LatestInOrder(ctx context.Context, name string, accept Accept) error {
	if err := dataset.CheckName(name); err != nil {
		return fmt.Errorf("pull the latest version: %w", err)
	}
	return c.inOrder(ctx, latestOf(name), []byte(name), latestPath(name), accept, func(r *relays.Relay, s *stream, n *Newest) error {
		err := readRecord(s, name, &n.Record)
		if err == nil {
			c.served(r)
		}
		return err
	})
}

// VersionInOrder queries one relay after another for the record of one version of the dataset, until accept accepts an answer. Its error is
// an *[Error], or ctx's; it is [ErrNotFound] if every relay answers that its store has no such version, as a relay of a release up to v0.4
// always does.
func (c *Client) VersionInOrder(ctx context.Context, name string, version uint64, accept Accept) error {
	if err := dataset.CheckName(name); err != nil {
		return fmt.Errorf("pull the record of a version: %w", err)
	}
	what, path := fmt.Sprintf("the record of version %s/%d", name, version), fmt.Sprintf("/v1/datasets/%s/versions/%d", name, version)
	return c.inOrder(ctx, what, []byte(name), path, accept, func(r *relays.Relay, s *stream, n *Newest) error {
		err := readRecord(s, name, &n.Record)
		if err == nil && n.Record.Version != version {
			err = fmt.Errorf("the record is of version %d", n.Record.Version)
		}
		if err == nil {
			c.served(r)
		}
		return err
	})
}

// Version returns the record of one version of the dataset from the first relay that reads the store own; a zero own accepts every store.
// The errors are those of VersionInOrder.
func (c *Client) Version(ctx context.Context, name string, version uint64, own dataset.StoreID) (rec dataset.VersionRecord, err error) {
	err = c.VersionInOrder(ctx, name, version, func(n Newest, none bool) error {
		if !own.IsZero() && n.Store != own && !(none && n.Store.IsZero()) {
			return fmt.Errorf("%w, %s", errOtherStore, n.Store)
		}
		rec = n.Record
		return nil
	})
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	return rec, nil
}

// StoreInOrder queries one relay after another for the id of its store, until accept accepts an answer. The answers have
// no Record.
func (c *Client) StoreInOrder(ctx context.Context, accept Accept) error {
	return c.inOrder(ctx, "the id of the store", []byte("store"), "/v1/store", accept, func(_ *relays.Relay, s *stream, n *Newest) error {
		return s.decode(func(text []byte) error {
			var answer struct {
				Store dataset.StoreID `json:"store"`
			}
			err := json.Unmarshal(text, &answer)
			n.Store = answer.Store
			return err
		})
	})
}

// inOrder makes a round for small answers, which read reads.
func (c *Client) inOrder(ctx context.Context, what string, key []byte, path string, accept Accept, read func(*relays.Relay, *stream, *Newest) error) error {
	r := round{c: c, ctx: ctx, what: what, key: key}
	r.query = func(relays.Standing) query { return query{path: path, whole: c.cfg.TotalTimeout > 0} }
	r.judge = func(relay *relays.Relay, s *stream, a Attempt) Attempt {
		n := Newest{Relay: a.Relay, Store: a.store}
		if a.Err == nil {
			a.Err = read(relay, s, &n)
			s.Close()
		}
		if a.Err == nil && n.Store.IsZero() && n.Record.Version == 0 {
			a.Status, a.Err = http.StatusNotFound, errors.New("the relay's store has no id")
		}
		if a.Err == nil || a.notFound() {
			if err := accept(n, a.notFound()); err != nil {
				a.Err, a.rejected = err, true
			}
		}
		return a
	}
	return r.run()
}

func latestOf(name string) string   { return "the latest version of " + name }
func latestPath(name string) string { return "/v1/datasets/" + name + "/latest" }

// readRecord reads the record of the dataset's newest version.
func readRecord(s *stream, name string, rec *dataset.VersionRecord) error {
	return s.decode(func(text []byte) error {
		got, err := dataset.DecodeVersionRecord(text)
		if err != nil {
			return err
		}
		if got.Dataset != name {
			return fmt.Errorf("the record is about dataset %q", got.Dataset)
		}
		*rec = got
		return nil
	})
}

const (
	// lateAfter is how long LatestOfAll waits for further relays after one has answered.
	lateAfter = time.Second
	// lateAfterOther is how long it waits if that relay reads another store than expected: longer than a relay that is down takes to fail.
	lateAfterOther = dialTimeout + 2*time.Second
	// silentAfter is how long a relay may be silent, while others answer, until it has failed.
	silentAfter = 2 * time.Second
)

// errLate is the error of a relay that had not answered some time after another relay.
var errLate = errors.New("no answer for a time in which another relay answered")

// LatestOfAll queries all relays concurrently for the newest version of the dataset. It returns the answers in the order in
// which Latest queries the relays.
//
// It waits for further answers until one second after the first one, and until five seconds after it while every answer
// names another store than own. A zero own accepts any store.
//
// silent are the relays that are up and sent no usable answer in that time; they may read any store. A relay that refuses
// the connection or cannot be reached is not among them. The error is an *[Error] if no relay answers.
func (c *Client) LatestOfAll(ctx context.Context, name string, own dataset.StoreID) (answers []Newest, silent []string, err error) {
	if err := dataset.CheckName(name); err != nil {
		return nil, nil, fmt.Errorf("pull the latest version: %w", err)
	}
	began := time.Now()
	order := c.relays.InOrder([]byte(name))
	newest, attempts := c.latestOfAll(ctx, order, name, own)
	failed := &Error{What: latestOf(name)}
	if ctx.Err() != nil {
		for _, r := range order {
			silent = append(silent, r.String())
		}
		return nil, silent, fmt.Errorf("pull %s: %w", failed.What, context.Cause(ctx))
	}
	for i, a := range attempts {
		if a.Err == nil {
			c.served(order[i].Relay)
		}
		if a.Err == nil || a.notFound() {
			answers = append(answers, newest[i])
			continue
		}
		if a.silent() {
			silent = append(silent, a.Relay)
		}
		if overtaken := errors.Is(a.Err, errLate) && time.Since(began) < silentAfter; !overtaken {
			c.recordFailure(order[i].Relay, a)
		}
		failed.Attempts = append(failed.Attempts, a)
	}
	if len(answers) == 0 {
		return nil, silent, failed
	}
	return answers, silent, nil
}

// latestOfAll returns the answers of the relays, with [errLate] for those that are late.
func (c *Client) latestOfAll(ctx context.Context, order []relays.Choice, name string, own dataset.StoreID) ([]Newest, []Attempt) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	newest, attempts := make([]Newest, len(order)), make([]Attempt, len(order))
	var late *time.Timer
	var end time.Time // when late fires
	fanOut(order, func(i int) Attempt {
		s, a := c.send(ctx, order[i].Relay, query{path: latestPath(name), limit: c.cfg.HeaderTimeout})
		newest[i] = Newest{Relay: a.Relay, Store: a.store}
		if a.Err == nil {
			defer s.Close()
			a.Err = readRecord(s, name, &newest[i].Record)
		}
		return a
	}, func(i int, a Attempt) {
		attempts[i] = a
		if a.Err != nil && !a.notFound() {
			return
		}
		wait := lateAfterOther
		if own.IsZero() || a.store.IsZero() || a.store == own {
			wait = lateAfter
		}
		switch at := time.Now().Add(wait); {
		case late == nil:
			late, end = time.AfterFunc(wait, func() { cancel(errLate) }), at
		case at.Before(end):
			late.Reset(wait)
			end = at
		}
	})
	if late != nil {
		late.Stop()
	}
	return newest, attempts
}

// silent reports whether the relay is up, as far as is known, although the attempt failed.
func (a Attempt) silent() bool {
	return a.Status != 0 || errors.Is(a.Err, ErrStalled) || errors.Is(a.Err, errLate)
}
