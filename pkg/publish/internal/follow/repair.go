package follow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/internal/wake"
	"github.com/sourcegraph/conc/iter"
)

const (
	// maxRepairs is how many datasets are repaired at a time.
	maxRepairs = 8
	// settle is how long a version may be missing before it is repaired: its own publisher may be about to announce it.
	settle = 200 * time.Millisecond
	// maxTimeouts is how many datasets of one repair may run into a timeout before the others are left for the next repair. The server
	// does not answer then.
	maxTimeouts = 3
)

// Repair is what was done for a dataset, or failed.
type Repair struct {
	// What is repaired: Announce or Index.
	What string
	// Dataset is empty if the follower could not be queried at all.
	Dataset string
	// From and To are the first and the last version that was added; zero if none was.
	From, To uint64
	// Replaced is the version that was there and is not in the store's history, and that To replaced; zero if there was none.
	Replaced dataset.Ref
	// Err is why the repair is not complete; nil if it is. It includes versions that can never be added.
	Err error
}

// Newest returns the newest versions in the store, and the datasets whose newest version cannot be read.
func (f *Followers) Newest(ctx context.Context) (newest map[string]dataset.Ref, unread map[string]error, err error) {
	newest, unread, err = f.store.Newest(ctx)
	if err != nil {
		err = fmt.Errorf("list the datasets for a repair: %w", err)
	}
	return newest, unread, err
}

// Repair compares the followers with newest, the newest versions in the store. It adds what they lack, and replaces versions that are
// not in the store's history. Concurrent repairs are safe.
func (f *Followers) Repair(ctx context.Context, newest map[string]dataset.Ref) []Repair {
	var all []*Target
	for _, t := range []*Target{f.Log, f.Catalog} {
		if t != nil {
			all = append(all, t)
		}
	}
	return slices.Concat(iter.Map(all, func(t **Target) []Repair { return (&repair{Target: *t}).run(ctx, newest) })...)
}

// repair is one repair of one follower.
type repair struct {
	*Target
	timeouts atomic.Int32
}

func (r *repair) run(ctx context.Context, newest map[string]dataset.Ref) []Repair {
	have, err := r.query(ctx, newest)
	behind := differing(have, newest)
	var repairs []Repair
	if err == nil && len(behind) > 0 {
		if !wake.Wait(ctx, settle, nil) {
			err = context.Cause(ctx)
		} else if have, err = r.query(ctx, behind); err == nil {
			repairs = r.datasets(ctx, have, behind)
		}
	}
	if err != nil {
		repairs = append(repairs, Repair{What: r.what, Err: fmt.Errorf("repair (%s): %w", r.what, err)})
	}
	return repairs
}

// query returns which versions the follower has of the datasets in want.
func (r *repair) query(ctx context.Context, want map[string]dataset.Ref) (map[string]dataset.Ref, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return r.newest(ctx, want)
}

// differing returns the part of newest that have lacks. An entry without an id, of an earlier release, counts as equal to the version
// with its number.
func differing(have, newest map[string]dataset.Ref) map[string]dataset.Ref {
	other := map[string]dataset.Ref{}
	for name, want := range newest {
		if is := have[name]; is.Version != want.Version || is.ID != want.ID && !is.ID.IsZero() {
			other[name] = want
		}
	}
	return other
}

// datasets brings all datasets from the versions in have to those in want.
func (r *repair) datasets(ctx context.Context, have, want map[string]dataset.Ref) []Repair {
	names := slices.Sorted(maps.Keys(differing(have, want))) // other publishers may have been faster
	mapper := iter.Mapper[string, Repair]{MaxGoroutines: maxRepairs}
	repairs := mapper.Map(names, func(name *string) Repair { return r.dataset(ctx, *name, have[*name], want[*name]) })
	repairs = slices.DeleteFunc(repairs, func(one Repair) bool { return one.Err == nil && one.To == 0 }) // nothing was new, or it was left
	if r.timeouts.Load() >= maxTimeouts {
		repairs = append(repairs, Repair{What: r.what, Err: fmt.Errorf("repair (%s): %d datasets ran into the timeout of %v; the others are left for the next repair",
			r.what, maxTimeouts, r.timeout)})
	}
	return repairs
}

// dataset brings a dataset from the version have to the version want.
func (r *repair) dataset(ctx context.Context, name string, have, want dataset.Ref) (one Repair) {
	one = Repair{What: r.what, Dataset: name}
	switch {
	case ctx.Err() != nil:
		one.Err = context.Cause(ctx)
		return one
	case r.timeouts.Load() >= maxTimeouts:
		return one
	}
	panicked := guard.Try(func() error { one.Err = r.bring(ctx, &one, have.Version, want.Version); return nil })
	if panicked != nil {
		one.Err = fmt.Errorf("repair dataset %q (%s): %w", name, r.what, panicked)
	}
	if errors.Is(one.Err, context.DeadlineExceeded) {
		r.timeouts.Add(1)
	}
	return one
}

func (r *repair) bring(ctx context.Context, one *Repair, have, want uint64) error {
	if have > 0 {
		replaced, err := r.reconcile(ctx, one)
		if replaced || err != nil {
			return err
		}
	}
	if have >= want {
		return nil // the follower got a later version since the store was read
	}
	from := have + 1
	if want-have > r.most {
		from = want - r.most + 1
	}
	skipped, err := r.addEach(ctx, one.Dataset, from, want, 0, func(rec dataset.VersionRecord) {
		one.To = rec.Version
		if one.From == 0 {
			one.From = rec.Version
		}
	})
	return oneline.Join(append(skipped, err)...)
}

// reconcile replaces the follower's last version if it is not in the store's history. It reports whether nothing else is to be done.
func (r *repair) reconcile(ctx context.Context, one *Repair) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	last, err := r.last(ctx, one.Dataset)
	if errors.Is(err, errUnreadable) {
		return false, nil // add returns what is wrong
	}
	if err != nil || last.Version == 0 {
		return false, err
	}
	if own, err := r.records.Contains(ctx, last); own || err != nil {
		return false, err
	}
	newest, err := r.records.Newest(ctx, one.Dataset)
	if err != nil || newest.Version == 0 {
		return true, err
	}
	id, err := r.store.EnsureID(ctx)
	if err == nil {
		err = r.replaceBy(ctx, newest, last, id)
	}
	if err != nil {
		return true, err
	}
	one.From, one.To, one.Replaced = newest.Version, newest.Version, last.Ref()
	return true, nil
}
