package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/store"
)

const (
	// requestVersions is how many of a dataset's newest versions find searches for the id of a request, and requestAge how old they may be.
	requestVersions = 1000
	requestAge      = time.Hour
	// oldInARow is how many versions in a row are older than requestAge where find stops: a single one may come from a wrong clock.
	oldInARow = 8
	// requestPage is how many records find reads first; each page has twice as many as the one before, up to maxRequestPage.
	requestPage    = 8
	maxRequestPage = 128
)

// requested finds the version that an earlier call with the same Input.RequestID made.
type requested struct {
	id       string
	searched uint64 // the newest version that is known not to be it
	made     dataset.VersionRecord
}

// find returns that version if there is one up to newest. It keeps what it found: the version may be out of the window at the next call.
func (r *requested) find(ctx context.Context, st store.Store, newest dataset.VersionRecord) (rec dataset.VersionRecord, found bool, err error) {
	if r.id == "" || r.made.Version == 0 && newest.Version <= r.searched {
		return dataset.VersionRecord{}, false, nil
	}
	if r.made.Version > 0 {
		return r.made, true, nil
	}
	page, old := []dataset.VersionRecord{newest}, 0
	size := uint64(requestPage)
	for before := newest.Version; ; {
		for _, rec := range page {
			if rec.RequestID == r.id {
				r.made = rec
				return rec, true, nil
			}
			if old++; clock.Now().Sub(rec.Created) <= requestAge {
				old = 0
			}
		}
		if before <= r.searched+1 || old >= oldInARow || newest.Version-before >= requestVersions {
			r.searched = newest.Version
			return dataset.VersionRecord{}, false, nil
		}
		limit := min(before-1-r.searched, size)
		size = min(2*size, maxRequestPage)
		page, err = st.Versions(ctx, newest.Dataset, before, int(limit))
		if _, damaged := errors.AsType[store.RecordErrors](err); err != nil && !damaged {
			return dataset.VersionRecord{}, false, fmt.Errorf("look for the request %s in the versions of dataset %q: %w", r.id, newest.Dataset, err)
		}
		before -= limit
	}
}

// reused returns the ErrRequestID of a request whose id is that of rec, although it asks for something else.
func reused(rec dataset.VersionRecord, why string) error {
	return fmt.Errorf("dataset %q: %w: version %s has the id %s, and %s; draw another id", rec.Dataset, ErrRequestID, rec.Ref(), rec.RequestID, why)
}

// differs returns what the record of the version rec tells to be other than what in asks for, as a text; empty if nothing is. A source
// that the Publisher filled in does not count: another publisher may carry out the repetition.
func (p *Publisher) differs(rec dataset.VersionRecord, in Input) string {
	switch {
	case !maps.Equal(rec.Labels, in.Labels):
		return "other labels"
	case in.Source != p.cfg.Source && rec.Source != in.Source:
		return "another source"
	case in.ExpectEvery != nil && rec.ExpectEvery != *in.ExpectEvery:
		return "another promise"
	}
	return ""
}

// repeated returns the result of a Publish whose version rec an earlier call with the same id made.
func (p *Publisher) repeated(d *draft, rec dataset.VersionRecord) (Result, error) {
	if why := p.differs(rec, d.in); why != "" {
		return Result{}, reused(rec, why)
	}
	if rec.State != d.state() {
		return Result{}, reused(rec, "other records")
	}
	return Result{Record: rec, Created: true, Repeated: true}, nil
}

// repeatedPatch returns the result of a Patch whose version rec an earlier call with the same id made. The same patch changes nothing
// in the version that it made.
func (p *Publisher) repeatedPatch(ctx context.Context, d *draft, rec dataset.VersionRecord, base base, entries *tape.Tape) (_ PatchResult, err error) {
	if !base.is(dataset.Ref{Version: rec.Version - 1, ID: rec.Previous}) {
		return PatchResult{}, reused(rec, fmt.Sprintf("another base than %s", base))
	}
	if why := p.differs(rec, d.in); why != "" {
		return PatchResult{}, reused(rec, why)
	}
	// The version is committed also where its objects are gone: compaction and cleaning need not keep those of an old version.
	told := PatchResult{Result: Result{Record: rec, Created: true, Repeated: true}, Changes: rec.Changes}
	c, err := p.history.Chains.Shortest(ctx, rec)
	if history.IsLost(err) {
		return told, nil
	}
	if err != nil {
		return PatchResult{}, err
	}
	changes := tape.New(d.folder.Path("repeated"))
	defer func() { err = errors.Join(err, changes.Close()) }()
	var e edit
	err = p.history.Chains.Read(ctx, rec, c, func(by history.Chain) error {
		e = edit{rec: rec, changes: changes}
		return p.edit(ctx, d.seed, by, entries, &e)
	})
	if history.IsLost(err) {
		return told, nil
	}
	if err != nil {
		return PatchResult{}, err
	}
	did := rec.Changes
	if changes.Entries() > 0 || e.result.Unchanged < did.Added+did.Changed || e.result.Missing < did.Removed {
		return PatchResult{}, reused(rec, "other changes")
	}
	result := e.result
	result.Result = Result{Record: rec, Created: true, Repeated: true}
	result.Changes = did
	result.Unchanged -= did.Added + did.Changed
	result.Missing -= did.Removed
	return result, nil
}

// UnknownError is the [ErrUnknown] of a version record that may have been put.
type UnknownError struct {
	// Record is the version that may exist. It exists if the store has a version with its number and its id.
	Record dataset.VersionRecord
	// Err is what PutVersion returned.
	Err error
}

// Error says how to find out.
func (e *UnknownError) Error() string {
	text := fmt.Sprintf("commit version %s: %v: %v; the version exists if `freshet versions %s` shows version %d with the id %s",
		e.Record.ID(), ErrUnknown, e.Err, e.Record.Dataset, e.Record.Version, e.Record.VersionID().Short())
	if e.Record.RequestID != "" {
		return text + fmt.Sprintf("; to be sure, repeat the request with its id %s, within an hour and %d versions: it makes no second version", e.Record.RequestID, requestVersions)
	}
	return text
}

// Unwrap returns ErrUnknown and the cause.
func (e *UnknownError) Unwrap() []error { return []error{ErrUnknown, e.Err} }
