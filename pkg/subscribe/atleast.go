package subscribe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/subscribe/internal/lineage"
	"freshet.dev/pkg/table"
)

var (
	// ErrOtherHistory is wrapped by every [*HistoryError].
	ErrOtherHistory = errors.New("the version is not in the history of the store")
	// ErrVersionID is returned when a wait is for a version without an id.
	ErrVersionID = errors.New("the version has no id, and a number alone names no version")
)

// HistoryError is returned when a caller waits for a version of another history: the store has another version with the number. The store was
// restored from an older copy since, or the version is of another store. No wait helps.
type HistoryError struct {
	Dataset string
	// Want is the version that the caller waits for, Stored the one of the store, Served the one that is served, which may be zero.
	Want, Stored, Served dataset.Ref
}

func (e *HistoryError) Error() string {
	return fmt.Sprintf("dataset %s: version %s is not in the history of the store, which has version %s: waiting does not help; the store was restored from an older copy, "+
		"or the version is of another store: read without asking for the version, and publish the change again if it is lost", e.Dataset, e.Want, e.Stored)
}

// Unwrap returns ErrOtherHistory.
func (*HistoryError) Unwrap() error { return ErrOtherHistory }

// BehindError is returned when ctx ends before the version is served.
type BehindError struct {
	Dataset string
	// Want is the version that the caller waits for, Served the one that is served; zero if there is none.
	Want, Served dataset.Ref
	// Why says what the instance knows of the version.
	Why string
	Err error // the cause of ctx
}

func (e *BehindError) Error() string {
	serves := "no version is served"
	if e.Served.Version > 0 {
		serves = fmt.Sprintf("version %s is served", e.Served)
	}
	return fmt.Sprintf("dataset %s: version %s is not served yet, %s: %s", e.Dataset, e.Want, serves, e.Why)
}

// Unwrap returns Err.
func (e *BehindError) Unwrap() error { return e.Err }

// WaitVersion waits until the dataset of the token is served at the token's version or one that has it in its history. See
// [Dataset.WaitVersion]; the error is an [ErrUnknownDataset] if the subscriber does not have the dataset.
func (s *Subscriber) WaitVersion(ctx context.Context, token dataset.Token) error {
	d, err := s.Dataset(token.Dataset)
	if err != nil {
		return fmt.Errorf("wait for version %s: %w", token, err)
	}
	return d.WaitVersion(ctx, token.Ref)
}

// WaitVersion returns nil as soon as the served version is want or has it in its history, so that lookups see what want's publish wrote, or what
// later versions made of it. The errors are those of [Dataset.AtLeast].
func (d *Dataset) WaitVersion(ctx context.Context, want dataset.Ref) error {
	_, _, err := d.AtLeast(ctx, want)
	return err
}

// AtLeast waits as [Dataset.WaitVersion] does, and returns the table that satisfies want with the id of its version. It costs a few atomic
// loads and no allocation if the served version's record shows that it has want in its history. The table is nil only if the dataset was deleted
// before this instance had one.
//
// Ids decide, not numbers: a version with a higher number of another history does not satisfy want. Where the record of the served version does
// not reach back to want, the relays are queried, without delaying lookups.
//
// A rollback has the versions that it undoes in its history. An instance that is pinned to an older version does not serve want before it is
// released. A served version that was recovered from a damaged cache folder may have no id, and then satisfies nothing.
//
// The error is
//
//   - a [*HistoryError] if the store has another version with the number, at once;
//   - a [*BehindError] if ctx ends first;
//   - an [ErrVersionID] if want has no id;
//   - an [ErrClosed] after [Subscriber.Close].
func (d *Dataset) AtLeast(ctx context.Context, want dataset.Ref) (t *table.Table, id dataset.VersionID, err error) {
	if v := d.readable(); v != nil && lineage.Satisfies(lineage.Served{Record: &v.Record, ID: v.ID}, want) {
		t, id = contentOf(v)
		return t, id, nil
	}
	if want.ID.IsZero() || want.Version == 0 {
		return nil, id, fmt.Errorf("wait for version %d of dataset %s: %w", want.Version, d.name, ErrVersionID)
	}
	var v *served
	err = d.await(ctx, want, func() lineage.Served {
		if v = d.readable(); v == nil {
			return lineage.Served{}
		}
		return lineage.Served{Record: &v.Record, ID: v.ID}
	})
	if err != nil {
		return nil, id, err
	}
	t, id = contentOf(v)
	return t, id, nil
}

// IndexesAtLeast is [Dataset.AtLeast] for [Dataset.Indexes], which may be a little older than the table: it waits until they are of a version
// that satisfies want. It returns nil for a dataset without indexes, and for one that was deleted before this instance had a table.
func (d *Dataset) IndexesAtLeast(ctx context.Context, want dataset.Ref) (*index.Set, error) {
	if d.indexes == nil {
		return nil, d.WaitVersion(ctx, want)
	}
	if want.ID.IsZero() || want.Version == 0 {
		return nil, fmt.Errorf("wait for the indexes of version %d of dataset %s: %w", want.Version, d.name, ErrVersionID)
	}
	var set *index.Set
	err := d.await(ctx, want, func() (now lineage.Served) {
		set, now = d.indexes.served()
		return now
	})
	if behind := (*BehindError)(nil); errors.As(err, &behind) {
		behind.Why += "; a condition reads the secondary indexes, which follow the table"
	}
	if err != nil {
		return nil, err
	}
	return set, nil
}

// contentOf returns the table that readers have of v, nil for none, and the id of its version.
func contentOf(v *served) (*table.Table, dataset.VersionID) {
	_, id := v.Content()
	if v.NoValue {
		return nil, id
	}
	return v.Value, id
}

// readable returns the version that readers have, or one that deletes the dataset if they have none; nil for neither.
func (d *Dataset) readable() *served {
	if v := d.current.Load(); v != nil {
		return v
	}
	if v := d.s.engine.Served(d.name); v != nil && v.NoValue {
		return v
	}
	return nil
}

// await waits until the version that served returns satisfies want. It calls served after each swap of the dataset or its indexes.
func (d *Dataset) await(ctx context.Context, want dataset.Ref, served func() lineage.Served) error {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		swapped := d.swapped.Next()
		now := served()
		var ref dataset.Ref
		if now.Record != nil {
			ref = dataset.Ref{Version: now.Record.Version, ID: now.ID}
		}
		verdict := d.lineage.Judge(now, want, began)
		switch {
		case verdict.Satisfied:
			return nil
		case !verdict.Other.IsZero():
			return &HistoryError{Dataset: d.name, Want: want, Stored: dataset.Ref{Version: want.Version, ID: verdict.Other}, Served: ref}
		}
		var again <-chan time.Time
		if !verdict.Again.IsZero() {
			timer.Reset(time.Until(verdict.Again))
			again = timer.C
		}
		select {
		case <-swapped:
		case <-verdict.Answered:
		case <-again:
		case <-ctx.Done():
			return &BehindError{Dataset: d.name, Want: want, Served: ref, Why: d.whyBehind(verdict.Why), Err: context.Cause(ctx)}
		case <-d.s.ctx.Done():
			return fmt.Errorf("wait for version %s of dataset %s: %w", want, d.name, ErrClosed)
		}
	}
}

// whyBehind describes the state of the dataset and, if known is not empty, what the relays know of a version.
func (d *Dataset) whyBehind(known string) string {
	h, v, j := d.s.engine.Judge(d.name)
	var rec *dataset.VersionRecord
	if v != nil {
		rec = &v.Record
	}
	text := fmt.Sprintf("the dataset is %s (%s)", j.State, h.Why(j.State, rec))
	if known != "" {
		text += "; " + known
	}
	return text
}

const (
	// versionQueries bounds the concurrent queries of the relays for versions that callers of [Dataset.AtLeast] wait for.
	versionQueries = 4
	// versionQueryTimeout bounds each of them, with its wait for one of the others.
	versionQueryTimeout = 5 * time.Second
)

// newLineage returns what decides which versions are in the history of the dataset's served version.
func (s *Subscriber) newLineage(name string) *lineage.Lineage {
	return lineage.New(func(version uint64) (dataset.VersionID, error) {
		ctx, cancel := context.WithTimeout(s.ctx, versionQueryTimeout)
		defer cancel()
		if err := s.versionSlots.Acquire(ctx, 1); err != nil {
			return dataset.VersionID{}, fmt.Errorf("the relays are busy with other queries: %w", context.Cause(ctx))
		}
		defer s.versionSlots.Release(1)
		rec, err := s.relays.Version(ctx, name, version, s.engine.Store().ID)
		if errors.Is(err, pull.ErrNotFound) {
			return dataset.VersionID{}, lineage.ErrNone
		}
		if err != nil {
			return dataset.VersionID{}, fmt.Errorf("query the relays: %w", err)
		}
		return rec.VersionID(), nil
	}, s.goUnlessClosing)
}

// goUnlessClosing runs f on a goroutine that Close waits for. It returns false if the subscriber is being closed.
func (s *Subscriber) goUnlessClosing(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.running.Go(f)
	return true
}
