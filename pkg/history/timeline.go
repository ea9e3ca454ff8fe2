package history

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/gone"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/snapshot"
)

// pageRecords is how many version records a Timeline reads at a time.
const pageRecords = 64

// Event is a version that changed a record.
type Event struct {
	// Version is the record of the version.
	Version dataset.VersionRecord
	// Change is what the version did to the record.
	Change snapshot.Change
}

// Timeline is one record through versions of a dataset.
type Timeline struct {
	reader        *Reader
	name          string
	key           []byte
	oldest, first uint64 // the versions, first is the newest; first is 0 if there are none
	gone          bool   // the timeline ends because the bytes of earlier versions are gone
}

// History returns the record with the key through up to limit versions below before; a before of 0 starts at the newest version. It
// reads no object. It ends before versions whose bytes are gone, and fails with [ErrGone] if there is no version left.
func (r *Reader) History(ctx context.Context, name string, key []byte, before uint64, limit int) (*Timeline, error) {
	if err := dataset.CheckKey(key); err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("read the history of a record of dataset %s: the limit is %d; want 1 or more", name, limit)
	}
	newest, err := r.record(ctx, name, 0)
	if err != nil {
		return nil, err
	}
	t := &Timeline{reader: r, name: name, key: bytes.Clone(key), first: newest.Version}
	if before > 0 {
		t.first = min(t.first, before-1)
	}
	if t.oldest = 1; t.first > uint64(limit) {
		t.oldest = t.first - uint64(limit) + 1
	}
	return t, t.skipGone(ctx)
}

// skipGone leaves out the versions up to the newest one whose bytes are gone, and the one after it: its change needs the value before.
func (t *Timeline) skipGone(ctx context.Context) error {
	removed, err := gone.Of(ctx, t.reader.store, t.name)
	if err != nil {
		return err
	}
	for _, part := range slices.Backward(removed.VersionRanges) {
		if t.first == 0 || part.First > t.first {
			continue
		}
		if part.Last+1 < t.oldest {
			return nil
		}
		if part.Last+2 > t.first {
			return removed.Error(dataset.VersionRecord{Dataset: t.name, Version: min(part.Last, t.first)})
		}
		t.oldest, t.gone = part.Last+2, true
		return nil
	}
	return nil
}

// Newest and Oldest return the versions that the timeline covers; Newest is 0 if it covers none.
func (t *Timeline) Newest() uint64 { return t.first }

// Oldest is described with Newest.
func (t *Timeline) Oldest() uint64 { return t.oldest }

// Next returns the before of the timeline that goes on; 0 if this one ends with version 1, or because the bytes of earlier versions are
// gone.
func (t *Timeline) Next() uint64 {
	if !t.gone && t.oldest > 1 && t.first > 0 {
		return t.oldest
	}
	return 0
}

// state is the record in a version: its value, or nil if the version has no such record.
type state struct {
	version dataset.VersionRecord
	value   []byte
}

// Events yields the versions that added, changed or removed the record, newest first. It reads the footer and at most one block of each
// version's own delta. Where a version has none, or where that is lost, it looks the record up in the version. It yields an error once,
// last, with a zero event.
func (t *Timeline) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var newer *state
		for rec, err := range t.records(ctx) {
			if err != nil {
				yield(Event{}, err)
				return
			}
			s, known, err := t.at(ctx, rec)
			switch {
			case err != nil:
				yield(Event{}, err)
				return
			case !known:
				continue // as in the version before
			case newer != nil && !t.event(newer, s.value, yield):
				return
			}
			newer = s
		}
		if newer == nil {
			return
		}
		old, err := t.before(ctx)
		if err != nil {
			yield(Event{}, err)
			return
		}
		t.event(newer, old, yield)
	}
}

// event yields the event of s.version if the value of the version before differs.
func (t *Timeline) event(s *state, old []byte, yield func(Event, error) bool) bool {
	c := snapshot.Change{Key: t.key, Old: old, New: s.value}
	switch {
	case old == nil && s.value == nil, old != nil && s.value != nil && bytes.Equal(old, s.value):
		return true
	case old == nil:
		c.Op = snapshot.Added
	case s.value == nil:
		c.Op = snapshot.Removed
	default:
		c.Op = snapshot.Changed
	}
	return yield(Event{s.version, c}, nil)
}

// records yields the version records of the timeline, newest first.
func (t *Timeline) records(ctx context.Context) iter.Seq2[dataset.VersionRecord, error] {
	return func(yield func(dataset.VersionRecord, error) bool) {
		for next := t.first; next >= t.oldest && next > 0; {
			first := next
			page, err := t.reader.store.Versions(ctx, t.name, next+1, int(min(pageRecords, next-t.oldest+1)))
			for _, rec := range page {
				if rec.Version != next {
					break // err says which record is damaged
				}
				if !yield(rec, nil) {
					return
				}
				next--
			}
			if next == first || err != nil {
				if err == nil {
					err = &NotFoundError{Dataset: t.name, Version: next, Newest: t.first}
				}
				yield(dataset.VersionRecord{}, fmt.Errorf("read the history of a record of dataset %s: %w", t.name, err))
				return
			}
		}
	}
}

// at returns the record in the version of rec; known is false if its delta shows that the version did not change it.
func (t *Timeline) at(ctx context.Context, rec dataset.VersionRecord) (s *state, known bool, err error) {
	if own, ok := rec.OwnDelta(); ok {
		entry, ok, err := t.reader.versions.Blocks.Entry(ctx, own, uint64(rec.Seed), t.key)
		if err == nil {
			s = &state{version: rec}
			if ok && !entry.Removed {
				s.value = append([]byte{}, entry.Value...) // not nil
			}
			return s, ok, nil
		}
		if !versions.IsLost(err) {
			return nil, false, t.reader.failed(ctx, rec, err)
		}
	}
	value, err := t.lookup(ctx, rec)
	return &state{rec, value}, true, err
}

// before returns the value of the version before the oldest.
func (t *Timeline) before(ctx context.Context) ([]byte, error) {
	if t.oldest == 1 {
		return nil, nil
	}
	rec, err := t.reader.record(ctx, t.name, t.oldest-1)
	if err != nil {
		return nil, err
	}
	return t.lookup(ctx, rec)
}

func (t *Timeline) lookup(ctx context.Context, rec dataset.VersionRecord) ([]byte, error) {
	v, err := t.reader.open(ctx, rec)
	if err != nil {
		return nil, err
	}
	values, err := v.Get(ctx, t.key)
	if err != nil {
		return nil, err
	}
	return values[0], nil
}
