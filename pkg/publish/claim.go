package publish

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

const (
	// claimAfter is how many lost races a publish of all records claims the next versions after.
	claimAfter = 3
	// claimSettle is how long a publish that has made a claim waits for commits that were under way. It is longer than a commit takes.
	claimSettle = 200 * time.Millisecond
	// claimRounds is how often it waits for them, or for another publish that has a claim.
	claimRounds = 8
	// leastHold is the least time that a claim asks for. It asks for three times as long as the longest comparison took.
	leastHold = 2 * time.Second
	// claimPoll is the first pause between two reads of a claim that a commit waits for. Each pause is twice as long as the one before,
	// up to maxClaimPoll: on S3 a read is a list request.
	claimPoll    = 20 * time.Millisecond
	maxClaimPoll = time.Second
)

// claims remembers when claims of other publishers were first seen.
type claims struct {
	mu   sync.Mutex
	seen map[string]sight // by dataset: the last one, guarded by mu
}

type sight struct {
	owner string
	at    time.Time
}

// age returns how long ago c was seen first.
func (s *claims) age(c dataset.Claim) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]sight{}
	}
	if s.seen[c.Dataset].owner != c.Owner {
		s.seen[c.Dataset] = sight{c.Owner, time.Now()}
	}
	return time.Since(s.seen[c.Dataset].at)
}

// honour waits while a publisher other than owner claims the version, and reports whether it waited: newer versions may be there
// then. A claim that has been seen for as long as it asks for is removed: its owner is dead or too slow. A claim that cannot be read
// holds nothing up: a commit does not depend on it.
func (p *Publisher) honour(ctx context.Context, name string, version uint64, owner string) (waited bool, err error) {
	for poll := claimPoll; ; poll = min(2*poll, maxClaimPoll) {
		c, err := p.deps.Store.NewestClaim(ctx, name, version-min(version, dataset.ClaimSpan), version)
		if err != nil || c.Owner == owner {
			return waited, nil
		}
		if p.claims.age(c) >= c.Hold {
			if err := p.deps.Store.DropClaim(ctx, name, c.Version); err != nil {
				p.cfg.Log.WarnContext(ctx, "a claim that has ended is left in the store", "dataset", name, "version", c.Version, "error", err.Error())
				return waited, nil
			}
			waited = true
			continue // there may be an older one
		}
		waited = true
		if err := pause(ctx, poll); err != nil {
			return waited, err
		}
	}
}

// pause returns after d, or ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// reserve claims the versions after latest for the draft, and returns the newest version once no commit of others is under way. A claim
// that cannot be made is no error: without one the publish wins less often.
func (p *Publisher) reserve(ctx context.Context, d *draft, latest dataset.VersionRecord) (dataset.VersionRecord, error) {
	hold := min(max(leastHold, 3*d.longest+claimSettle), dataset.MaxClaimHold)
	for range claimRounds {
		waited, err := p.honour(ctx, d.name, latest.Version+1, d.owner)
		if err != nil {
			return latest, fmt.Errorf("publish dataset %q: %w", d.name, err)
		}
		if !waited {
			err = p.deps.Store.PutClaim(ctx, dataset.Claim{Dataset: d.name, Version: latest.Version + 1, Owner: d.owner, Hold: hold})
			if err == nil {
				d.claimed = append(d.claimed, latest.Version+1)
			} else if !errors.Is(err, store.ErrExists) {
				p.cfg.Log.WarnContext(ctx, "a publish that other publishers overtake could not claim the next version", "dataset", d.name, "error", err.Error())
				return latest, nil
			}
			if err := pause(ctx, claimSettle); err != nil {
				return latest, fmt.Errorf("publish dataset %q: %w", d.name, err)
			}
		}
		newest, err := p.latest(ctx, d)
		if err != nil || newest.Version == latest.Version {
			return newest, err
		}
		latest = newest
	}
	return latest, nil
}

// release removes the draft's claims. One that is left holds others up for its time at most.
func (p *Publisher) release(ctx context.Context, d *draft) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), doubtTimeout)
	defer cancel()
	for _, version := range d.claimed {
		if err := p.deps.Store.DropClaim(ctx, d.name, version); err != nil {
			p.cfg.Log.WarnContext(ctx, "a claim is left in the store", "dataset", d.name, "version", version, "error", err.Error())
		}
	}
}
