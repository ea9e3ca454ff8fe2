package commit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/store"
)

// maxAttempts is how many races for a version number a job may lose.
const maxAttempts = 32

// Mode is how a job competes with others.
type Mode struct {
	verb string
	// lockAfter is the number of lost races after which the other jobs of this process wait for this one.
	lockAfter int
	// claimAfter is the number of lost races after which the job claims the next versions, so that other processes wait.
	claimAfter int
	// reread says to read the newest version again when the input has been read.
	reread bool
}

var (
	// Publish is the mode of a publish of all records. Comparing all records takes longer than a patch does, so a publish would
	// lose to a row of patches each time.
	Publish = Mode{verb: "publish", lockAfter: 2, claimAfter: 3, reread: true}
	// Patch is the mode of a patch. The patches of one process would only overtake one another, so they wait from the start.
	Patch = Mode{verb: "patch", lockAfter: 0, claimAfter: maxAttempts}
	// Rollback is the mode of a rollback. It costs as little as a patch, unless deltas are missing: then it compares all records.
	Rollback = Mode{verb: "roll back", lockAfter: 1, claimAfter: 3}
	// Delete is the mode of a delete, which costs less than any other job.
	Delete = Mode{verb: "delete", lockAfter: 1, claimAfter: 3}
)

// Race is the commit of one job.
type Race struct {
	// Newest is the newest version at the start, the zero record if there is none.
	Newest dataset.VersionRecord
	// Repeated is true if Newest or a version before it has the request id.
	Repeated bool
	// AllowShrink passes the gates about fewer records and bytes. Set it before Run.
	AllowShrink bool
	// Hold, if not nil, is called before the commit of the version after newest, when the version meets the gates and its objects are
	// stored. An error of it ends the race.
	Hold func(ctx context.Context, newest dataset.VersionRecord) error

	committer *Committer
	mode      Mode
	dataset   string
	request   request

	owner   string        // of the claims
	claimed []uint64      // versions
	longest time.Duration // of a Prepare

	whole judgement // of the job's records, if they are the same after each version
}

// Start reads the newest version of the dataset, and looks for the request id in its history; "" is no id. Call it before the body
// is read: versions committed later do not shorten the search.
func (c *Committer) Start(ctx context.Context, mode Mode, dataset, requestID string) (*Race, error) {
	newest, err := c.records.Newest(ctx, dataset)
	if err != nil {
		return nil, err
	}
	r := &Race{Newest: newest, committer: c, mode: mode, dataset: dataset, request: request{id: requestID}, owner: rand.Text()}
	_, r.Repeated, err = r.request.find(ctx, c.store, newest)
	return r, err
}

// Run commits the next version that job makes, or reports that none is needed. Created versions stay in flight until the caller
// ends them. The caller releases the claims of the race.
func (r *Race) Run(ctx context.Context, job Job) (Result, error) {
	reread := r.mode.reread
	for attempt := range maxAttempts {
		if ctx.Err() != nil {
			return Result{}, r.failed(context.Cause(ctx))
		}
		if attempt == r.mode.lockAfter {
			unlock, waited, err := r.committer.locks.Lock(ctx, r.dataset)
			if err != nil {
				return Result{}, r.failed(err)
			}
			defer unlock()
			reread = reread || waited
		}
		newest := r.Newest
		if reread {
			var err error
			if newest, err = r.latest(ctx, attempt); err != nil {
				return Result{}, err
			}
		}
		result, done, err := r.attempt(ctx, newest, reread, job)
		if done || err != nil {
			return result, err
		}
		reread = true
	}
	return Result{}, fmt.Errorf("%s dataset %q: %w %d times; %[1]s it again, and let one publisher at a time publish a dataset",
		r.mode.verb, r.dataset, ErrConflict, maxAttempts)
}

// latest returns the newest version. It claims the versions after it if the job lost too many races.
func (r *Race) latest(ctx context.Context, attempt int) (dataset.VersionRecord, error) {
	newest, err := r.committer.records.Newest(ctx, r.dataset)
	if err == nil && attempt >= r.mode.claimAfter {
		return r.claim(ctx, newest)
	}
	return newest, err
}

// attempt tries to commit the version after newest. Done is false if another publisher was faster. Current says that newest was read
// after the input.
func (r *Race) attempt(ctx context.Context, newest dataset.VersionRecord, current bool, job Job) (_ Result, done bool, err error) {
	if existing, found, err := r.request.find(ctx, r.committer.store, newest); err != nil || found {
		if err == nil {
			err = r.checkRepeat(ctx, existing, job)
		}
		return Result{Record: existing, Created: true, Repeated: true}, true, err
	}
	began := time.Now()
	made, err := job.Prepare(ctx, newest)
	if err != nil {
		return Result{}, true, err
	}
	if made.Create {
		if stale, err := r.refuse(ctx, newest, made); err != nil || stale {
			return Result{}, !stale, err
		}
	}
	if err := made.store(ctx); err != nil {
		return Result{}, true, err
	}
	if !made.Create {
		result := Result{Record: made.Record, Warnings: made.Warnings}
		if current {
			return result, true, nil
		}
		// No commit has proven that newest still was the newest version when the input was read.
		now, err := r.committer.records.Newest(ctx, r.dataset)
		return result, now.Ref() == newest.Ref(), err
	}
	r.longest = max(r.longest, time.Since(began))
	waited, err := r.waitForClaims(ctx, made.Record.Version)
	if err != nil {
		return Result{}, true, r.failed(err)
	}
	if waited {
		return Result{}, false, nil // there may be newer versions now
	}
	if r.Hold != nil {
		if err := r.Hold(ctx, newest); err != nil {
			return Result{}, true, err
		}
		made.Record.Created = clock.Now().UTC() // after what Hold may have written
	}
	if err = r.commit(ctx, newest, made.Record); errors.Is(err, store.ErrExists) || errors.Is(err, errRemoved) {
		return Result{}, false, nil // another publisher was faster, or a garbage collection was: prepare it again
	}
	return Result{Record: made.Record, Created: true, Warnings: made.Warnings}, true, err
}

// errRemoved is returned when a garbage collection removed an object while the version that names it was prepared.
var errRemoved = errors.New("an object was removed from the store")

// commit commits rec, the version after newest. It holds the objects that rec names and newest does not until rec is committed, or until
// the hold expires if the outcome is unknown.
func (r *Race) commit(ctx context.Context, newest, rec dataset.VersionRecord) error {
	c := r.committer
	held, err := c.objects.Hold(ctx, newest, append([]dataset.Object{rec.Snapshot}, rec.Deltas...))
	if versions.IsLost(err) {
		err = fmt.Errorf("%w: %w", errRemoved, err)
	}
	if err != nil {
		return fmt.Errorf("commit version %s: %w", rec.ID(), err)
	}
	err = c.put(ctx, rec)
	if _, unknown := errors.AsType[*UnknownError](err); !unknown {
		held.Drop(ctx)
	}
	return err
}

// checkRepeat returns an error if existing, which has the race's request id, is not what job asks for.
func (r *Race) checkRepeat(ctx context.Context, existing dataset.VersionRecord, job Job) error {
	differs, err := job.Differs(ctx, existing)
	if err == nil && differs != "" {
		err = fmt.Errorf("dataset %q: %w: version %s has the id %s, and %s; draw another id",
			existing.Dataset, ErrRequestID, existing.Ref(), existing.RequestID, differs)
	}
	return err
}

func (r *Race) failed(err error) error {
	return fmt.Errorf("%s dataset %q: %w", r.mode.verb, r.dataset, err)
}

// Dataset returns the name of the dataset.
func (r *Race) Dataset() string { return r.dataset }
