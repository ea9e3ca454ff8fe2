package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

// StoreHeader is the header in which a relay names the store that it reads.
const StoreHeader = "Freshet-Store"

// Newest is what one relay says of a dataset's newest version.
type Newest struct {
	Relay string // its base URL without its password
	// Store is the store that the relay reads; zero if the relay does not say so, as one of an earlier release.
	Store dataset.StoreID
	// Record is the newest version; its Version is 0 if the relay says that there is none.
	Record dataset.VersionRecord
}

const (
	// straggle is how long LatestOfAll waits for further relays when one has answered.
	straggle = time.Second
	// straggleOther is how long it waits if that one reads another store than expected: longer than a relay that is down takes to fail.
	straggleOther = dialTimeout + 2*time.Second
	// silentAfter is how long a relay may be silent, while others answer, until that counts as a failure.
	silentAfter = 2 * time.Second
)

// errStraggles is the failure of a relay that had not answered some time after another one.
var errStraggles = errors.New("no answer for a time in which another relay answered")

// LatestOfAll asks every relay for the newest version of the dataset, all at the same time, and returns the answers in the order in which
// Latest asks the relays. It waits a second for further answers after the first one, and five seconds as long as each answer names another
// store than own; a zero own is no other store. silent are the relays that are up and gave no usable answer in that time: they may read any
// store. A relay that refuses the connection or cannot be reached is not among them. The error is an *[Error] if no relay answers.
func (c *Client) LatestOfAll(ctx context.Context, name string, own dataset.StoreID) (all []Newest, silent []string, err error) {
	if err := dataset.CheckName(name); err != nil {
		return nil, nil, fmt.Errorf("pull the latest version: %w", err)
	}
	what, path := "the latest version of "+name, "/v1/datasets/"+name+"/latest"
	type answer struct {
		newest  Newest
		attempt Attempt
	}
	order := c.relays.InOrder([]byte(name))
	answers := make([]answer, len(order))
	asked, settle := context.WithCancelCause(ctx)
	defer settle(nil)
	began := time.Now()
	done := make(chan int)
	for i, r := range order {
		go func() {
			a := &answers[i]
			a.newest.Relay = r.String()
			if err := guard.Try(func() error {
				a.newest.Record, a.newest.Store, a.attempt = c.latest(asked, r.Relay, path, name)
				return nil
			}); err != nil {
				a.attempt = Attempt{Relay: r.String(), Status: http.StatusOK, Err: err}
			}
			done <- i
		}()
	}
	wait := func(d time.Duration) *time.Timer { return time.AfterFunc(d, func() { settle(errStraggles) }) }
	var short, long *time.Timer
	for range order {
		a := &answers[<-done]
		switch {
		case a.attempt.Err != nil && a.attempt.Status != http.StatusNotFound:
		case own.IsZero() || a.newest.Store.IsZero() || a.newest.Store == own:
			if short == nil {
				short = wait(straggle)
				defer short.Stop()
			}
		case long == nil:
			long = wait(straggleOther)
			defer long.Stop()
		}
	}
	if ctx.Err() != nil {
		for _, r := range order {
			silent = append(silent, r.String())
		}
		return nil, silent, fmt.Errorf("pull %s: %w", what, context.Cause(ctx))
	}
	failed := &Error{What: what}
	for i, a := range answers {
		switch {
		case a.attempt.Err == nil:
			c.relays.Served(order[i].Relay)
			all = append(all, a.newest)
			continue
		case a.attempt.Status == http.StatusNotFound:
			all = append(all, a.newest)
			continue
		case a.attempt.silent():
			silent = append(silent, a.newest.Relay)
		}
		overtaken := errors.Is(a.attempt.Err, errStraggles) && time.Since(began) < silentAfter
		if !a.attempt.busy() && !overtaken {
			c.relays.Fail(order[i].Relay, a.attempt.Err)
		}
		failed.Attempts = append(failed.Attempts, a.attempt)
	}
	if len(all) == 0 {
		return nil, silent, failed
	}
	return all, silent, nil
}

// silent reports whether the relay is up, as far as that is known, although the attempt failed.
func (a Attempt) silent() bool {
	return a.Status != 0 || errors.Is(a.Err, ErrStalled) || errors.Is(a.Err, errStraggles)
}
