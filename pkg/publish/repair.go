package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"github.com/sourcegraph/conc/iter"
	"github.com/sourcegraph/conc/panics"
)

const (
	// repairLanes is how many datasets are repaired at a time.
	repairLanes = 8
	// maxAnnounced is how many versions of a dataset a repair announces, the newest ones, when the log lacks more. A log can
	// keep ten times as many, but an event goes to every instance, whether it needs that version or not: a thousand of 2 KB
	// are 2 GB for a fleet of a thousand. The store has the others.
	maxAnnounced = 1000
	// settle is how long a version may be missing before it is repaired: its own publisher may be about to tell of it.
	settle = 200 * time.Millisecond
	// maxTimeouts is how many datasets of one repair may run into a timeout before the others are left for the next. It is
	// the server that does not answer then.
	maxTimeouts = 3
)

// What a [Repair] was of.
const (
	RepairAnnounce = "announce" // the event log
	RepairIndex    = "index"    // the catalog
)

// Repair says what was done for a dataset, or could not be.
type Repair struct {
	// What is RepairAnnounce or RepairIndex.
	What string
	// Dataset is empty if the event log or the catalog could not be asked at all.
	Dataset string
	// From and To are the first and the last version that was announced or indexed; zero if none was.
	From, To uint64
	// Replaced is the version that was there and is not in the store's history, and in whose place To was put; zero if there was
	// none. The store was restored from an older copy, or created again.
	Replaced dataset.Ref
	// Err is why it is not complete; nil if it is. It names versions that can never be announced, too; the repair goes on after them.
	Err error
}

// Repair completes what publishers that died, or servers that were wiped, have left undone for any dataset: it announces
// to the event log what that lacks, of each dataset the last 1,000 versions at most and in their order, and indexes in the
// catalog the last 32. The error joins those of the repairs, and those of datasets that could not be read in the store.
//
// It does nothing where nothing is missing, and may run at any time, in any number of processes. A log without the
// methods Last and Latest, or a catalog without the method Newest, of those in this repository is left alone. See [Repairer].
func (p *Publisher) Repair(ctx context.Context) ([]Repair, error) {
	newest, unread, err := p.deps.Store.Newest(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the datasets for a repair: %w", err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(unread)) {
		errs = append(errs, fmt.Errorf("look up the newest version of dataset %q: %w", name, unread[name]))
	}
	repairs := p.repair(ctx, newest)
	for _, r := range repairs {
		errs = append(errs, r.Err)
	}
	return repairs, errors.Join(errs...)
}

// repair compares the event log and the catalog with newest, the store's newest versions. It completes them, and replaces
// versions that are not in the store's history.
func (p *Publisher) repair(ctx context.Context, newest map[string]dataset.Ref) []Repair {
	return slices.Concat(iter.Map(p.sides(), func(s **side) []Repair { return (*s).repair(ctx, newest) })...)
}

// side is the event log or the catalog, as something that follows the store.
type side struct {
	*Publisher
	what string
	most uint64 // of the versions that it lacks, how many are brought
	// have returns the newest version that it has of each dataset; want is what it should have.
	have func(ctx context.Context, want map[string]dataset.Ref) (map[string]dataset.Ref, error)
	// record returns the record of the version that have named; the zero record if it cannot be read.
	record func(ctx context.Context, name string) (dataset.VersionRecord, error)
	// tell tells it of a version, and reports whether that was new to it.
	tell func(ctx context.Context, rec dataset.VersionRecord) (bool, error)
	// replace puts rec in the place of over, which is not in the store's history.
	replace func(ctx context.Context, rec, over dataset.VersionRecord) error

	timeouts atomic.Int32
}

// repair brings what is missing.
func (s *side) repair(ctx context.Context, newest map[string]dataset.Ref) []Repair {
	have, err := s.ask(ctx, newest)
	differs := differs(have, newest)
	var repairs []Repair
	if err == nil && len(differs) > 0 {
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-time.After(settle):
			if have, err = s.ask(ctx, differs); err == nil {
				repairs = s.bringAll(ctx, have, differs)
			}
		}
	}
	if err != nil {
		repairs = append(repairs, Repair{What: s.what, Err: fmt.Errorf("repair (%s): %w", s.what, err)})
	}
	return repairs
}

// ask returns which versions it has of those datasets.
func (s *side) ask(ctx context.Context, newest map[string]dataset.Ref) (map[string]dataset.Ref, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AnnounceTimeout)
	defer cancel()
	return s.have(ctx, newest)
}

// differs returns the part of newest that have does not have. An entry without an id, of an earlier release, counts as equal to
// the version with its number.
func differs(have, newest map[string]dataset.Ref) map[string]dataset.Ref {
	other := map[string]dataset.Ref{}
	for name, want := range newest {
		if is := have[name]; is.Version != want.Version || is.ID != want.ID && !is.ID.IsZero() {
			other[name] = want
		}
	}
	return other
}

func (s *side) lanes() iter.Mapper[string, Repair] {
	return iter.Mapper[string, Repair]{MaxGoroutines: repairLanes}
}

// bringAll brings all datasets from the versions in have to those in want.
func (s *side) bringAll(ctx context.Context, have, want map[string]dataset.Ref) []Repair {
	names := slices.Sorted(maps.Keys(differs(have, want))) // others may have been faster
	repairs := s.lanes().Map(names, func(name *string) Repair { return s.one(ctx, *name, have[*name], want[*name]) })
	repairs = slices.DeleteFunc(repairs, func(r Repair) bool { return r.Err == nil && r.To == 0 }) // nothing was new, or it was left
	if s.timeouts.Load() >= maxTimeouts {
		repairs = append(repairs, Repair{What: s.what, Err: fmt.Errorf("repair (%s): %d datasets ran into the timeout of %v; the others are left for the next time",
			s.what, maxTimeouts, s.cfg.AnnounceTimeout)})
	}
	return repairs
}

// one brings the versions of a dataset after have, up to the one to.
func (s *side) one(ctx context.Context, name string, have, to dataset.Ref) (r Repair) {
	r = Repair{What: s.what, Dataset: name}
	switch {
	case ctx.Err() != nil:
		r.Err = context.Cause(ctx)
		return r
	case s.timeouts.Load() >= maxTimeouts:
		return r
	}
	panicked := panics.Try(func() { r.Err = s.bring(ctx, &r, have, to) }).AsError()
	if panicked != nil {
		r.Err = fmt.Errorf("repair dataset %q (%s): %w", name, s.what, panicked)
	}
	if errors.Is(r.Err, context.DeadlineExceeded) {
		s.timeouts.Add(1)
	}
	return r
}

func (s *side) bring(ctx context.Context, r *Repair, is, want dataset.Ref) error {
	if is.Version > 0 {
		done, err := s.reconcile(ctx, r)
		if done || err != nil {
			return err
		}
	}
	have, to := is.Version, want.Version
	if have >= to {
		return nil // newest was read before a version that it has by now
	}
	from := have + 1
	if to-have > s.most {
		from = to - s.most + 1
	}
	var skipped []error // of versions that can never be announced: they do not hold up the later ones
	err := s.history.Records.Each(ctx, r.Dataset, from, to, func(rec dataset.VersionRecord) error {
		err := s.bringOne(ctx, r, rec)
		if events.OnlyThisVersion(err) {
			skipped = append(skipped, err)
			return nil
		}
		return err
	})
	return errors.Join(append(skipped, err)...)
}

// reconcile replaces the last version that it has if that is not in the store's history, and reports whether it did.
func (s *side) reconcile(ctx context.Context, r *Repair) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AnnounceTimeout)
	defer cancel()
	last, err := s.record(ctx, r.Dataset)
	if err != nil || last.Version == 0 {
		return false, err
	}
	if ours, err := s.history.Records.Contains(ctx, last); ours || err != nil {
		return false, err
	}
	newest, err := s.history.Records.Newest(ctx, r.Dataset)
	if err != nil || newest.Version == 0 {
		return true, err
	}
	id, err := s.deps.Store.EnsureID(ctx)
	if err == nil {
		err = s.replaced.allow(s.what, last, id, newest.Ref())
	}
	if err == nil {
		err = s.replace(ctx, newest, last)
	}
	if err != nil {
		return true, err
	}
	s.replaced.done(s.what, last, id)
	r.From, r.To, r.Replaced = newest.Version, newest.Version, last.Ref()
	return true, nil
}

func (s *side) bringOne(ctx context.Context, r *Repair, rec dataset.VersionRecord) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AnnounceTimeout)
	defer cancel()
	isNew, err := s.tell(ctx, rec)
	if err == nil && isNew {
		r.To = rec.Version
		if r.From == 0 {
			r.From = rec.Version
		}
	}
	return err
}
