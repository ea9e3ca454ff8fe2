package commit

import (
	"context"
	"errors"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/store"
)

const (
	// claimSettle is how long a publish that has made a claim waits for commits in flight. A commit takes less.
	claimSettle = 200 * time.Millisecond
	// claimRounds is how often it waits for them, or for another publish that has a claim.
	claimRounds = 8
	// leastHold is the least time that a claim asks for. It asks for three times as long as the longest Prepare took.
	leastHold = 2 * time.Second
	// claimPoll is the first pause between two reads of a claim that a commit waits for. Each pause is twice as long as the one before,
	// up to maxClaimPoll: on S3 a read is a list request.
	claimPoll    = 20 * time.Millisecond
	maxClaimPoll = time.Second
)

// sightings records when claims of other publishers were first seen. The zero sightings is ready for use.
type sightings struct {
	mu   sync.Mutex
	last map[string]sighting // by dataset; guarded by mu
}

type sighting struct {
	owner string
	at    time.Time
}

// age returns for how long c has been seen.
func (s *sightings) age(c dataset.Claim) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[string]sighting{}
	}
	if s.last[c.Dataset].owner != c.Owner {
		s.last[c.Dataset] = sighting{c.Owner, time.Now()}
	}
	return time.Since(s.last[c.Dataset].at)
}

// waitForClaims waits while another publisher claims the version, and reports whether it waited: there may be newer versions then.
//
//   - It removes a claim that has been seen for as long as it asks for: its owner is dead or too slow.
//   - It ignores a claim that cannot be read: a commit does not depend on claims.
func (r *Race) waitForClaims(ctx context.Context, version uint64) (waited bool, err error) {
	st := r.committer.store
	for poll := claimPoll; ; poll = min(2*poll, maxClaimPoll) {
		c, err := st.NewestClaim(ctx, r.dataset, version-min(version, dataset.ClaimSpan), version)
		if err != nil || c.Owner == r.owner {
			return waited, nil
		}
		if r.committer.sightings.age(c) >= c.Hold {
			if err := st.DropClaim(ctx, r.dataset, c.Version); err != nil {
				r.committer.log.WarnContext(ctx, "a claim that has expired is left in the store", "dataset", r.dataset, "version", c.Version, "error", err.Error())
				return waited, nil
			}
			waited = true
			continue // there may be an older claim
		}
		waited = true
		if !wake.Wait(ctx, poll, nil) {
			return waited, context.Cause(ctx)
		}
	}
}

// claim claims the versions after newest, and returns the newest version once no commit of other publishers is in flight. A claim that
// fails is no error: without one the publish wins less often.
func (r *Race) claim(ctx context.Context, newest dataset.VersionRecord) (dataset.VersionRecord, error) {
	c := r.committer
	hold := min(max(leastHold, 3*r.longest+claimSettle), dataset.MaxClaimHold)
	for range claimRounds {
		waited, err := r.waitForClaims(ctx, newest.Version+1)
		if err != nil {
			return newest, r.failed(err)
		}
		if !waited {
			err = c.store.PutClaim(ctx, dataset.Claim{Dataset: r.dataset, Version: newest.Version + 1, Owner: r.owner, Hold: hold})
			if err == nil {
				r.claimed = append(r.claimed, newest.Version+1)
			} else if !errors.Is(err, store.ErrExists) {
				c.log.WarnContext(ctx, "a publish that lost races could not claim the next version", "dataset", r.dataset, "error", err.Error())
				return newest, nil
			}
			if !wake.Wait(ctx, claimSettle, nil) {
				return newest, r.failed(context.Cause(ctx))
			}
		}
		now, err := c.records.Newest(ctx, r.dataset)
		if err != nil || now.Version == newest.Version {
			return now, err
		}
		newest = now
	}
	return newest, nil
}

// Release removes the race's claims. A claim that is left delays other publishers until it expires.
func (r *Race) Release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	for _, version := range r.claimed {
		if err := r.committer.store.DropClaim(ctx, r.dataset, version); err != nil {
			r.committer.log.WarnContext(ctx, "a claim is left in the store", "dataset", r.dataset, "version", version, "error", err.Error())
		}
	}
}
