package verify

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// pageRecords is how many version records a walk reads at a time.
const pageRecords = 64

// records reads all version records in order, and checks what follows from them alone.
func (w *walk) records(ctx context.Context) error {
	for from := uint64(1); from <= w.newest; from += pageRecords {
		to := min(w.newest, from+pageRecords-1)
		page, err := w.page(ctx, from, to)
		if err != nil {
			return err
		}
		for version := from; version <= to; version++ {
			f := &facts{version: version}
			if rec, ok := page[version]; ok {
				if err := w.link(ctx, &rec); err != nil {
					return err
				}
				w.read(f, rec)
			}
			if err := w.add(ctx, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// page returns the records of the versions. It records a fault for each one that it leaves out.
func (w *walk) page(ctx context.Context, from, to uint64) (map[uint64]dataset.VersionRecord, error) {
	list, err := w.store.Versions(ctx, w.name, to+1, int(to-from+1))
	if _, damaged := errors.AsType[store.RecordErrors](err); err != nil && !damaged {
		return nil, fmt.Errorf("verify dataset %q: read versions %d to %d: %w", w.name, from, to, err)
	}
	page := make(map[uint64]dataset.VersionRecord, len(list))
	for _, rec := range list {
		page[rec.Version] = rec
	}
	for version := from; version <= to; version++ {
		if _, ok := page[version]; ok {
			continue
		}
		rec, err := w.store.Version(ctx, w.name, version) // an operator may have put it back
		switch {
		case err == nil:
			page[version] = rec
		case errors.Is(err, store.ErrNotFound):
			if newest, err := w.Verifier.newest(ctx, w.name); err != nil || newest < w.newest {
				return nil, fmt.Errorf("verify dataset %q: %w", w.name, errors.Join(errReplaced, err))
			}
			w.badRecord(KindRecord, version, fmt.Sprintf("the record of version %d is missing, although version %d exists", version, w.newest))
		case errors.Is(err, store.ErrDamaged):
			problem := err.Error()
			if damaged, ok := errors.AsType[*store.RecordError](err); ok {
				problem = damaged.Err.Error()
			}
			w.badRecord(KindRecord, version, fmt.Sprintf("the record of version %d is damaged: %s", version, problem))
		default:
			return nil, fmt.Errorf("verify dataset %q: read version %d: %w", w.name, version, err)
		}
	}
	return page, nil
}

func (w *walk) badRecord(kind Kind, version uint64, problem string) *fault {
	f := &fault{kind: kind, version: version, place: w.store.RecordPlace(w.name, version), problem: problem}
	if kind == KindRecord {
		f.lost = []Range{{version, version}}
	}
	w.faults = append(w.faults, f)
	return f
}

// link checks that rec names the version before it, and that its delta applies to that version. It reads both records again if not, and
// replaces rec by what it reads.
func (w *walk) link(ctx context.Context, rec *dataset.VersionRecord) error {
	before := w.last
	if before == nil || !before.read || rec.StoreID.IsZero() {
		return nil // records without a store id name no version
	}
	problem := unlinked(*rec, before.id)
	if problem == "" {
		return nil
	}
	again, err := w.store.Version(ctx, w.name, rec.Version)
	if err != nil {
		return fmt.Errorf("verify dataset %q: read version %d again: %w", w.name, rec.Version, err)
	}
	first, err := w.store.Version(ctx, w.name, before.version)
	if err != nil {
		return fmt.Errorf("verify dataset %q: read version %d again: %w", w.name, before.version, err)
	}
	*rec = again
	if problem = unlinked(again, first.VersionID()); problem != "" {
		w.badRecord(KindLink, rec.Version, problem)
	}
	return nil
}

// unlinked says how rec does not follow the version before with the given id; "" if it does.
func unlinked(rec dataset.VersionRecord, before dataset.VersionID) string {
	if rec.Previous != before {
		return fmt.Sprintf("version %d follows a version %d with the id %q, and the one in the store has the id %s", rec.Version, rec.Version-1, rec.Previous, before)
	}
	if own, ok := rec.OwnDelta(); ok && !own.From.IsZero() && own.From != before {
		return fmt.Sprintf("the delta of version %d applies to the id %s, and version %d in the store has the id %s", rec.Version, own.From, rec.Version-1, before)
	}
	return ""
}

// read fills f with what rec says, and collects the deltas that rec names.
func (w *walk) read(f *facts, rec dataset.VersionRecord) {
	w.seed, w.seeded = uint64(rec.Seed), true
	f.read, f.id, f.seed, f.state, f.payload, f.snapshot = true, rec.VersionID(), w.seed, rec.State, rec.PayloadBytes, rec.Snapshot
	w.checkStore(rec)
	if len(rec.Deltas) > 0 {
		f.first = rec.Deltas[0].Version
	}
	for _, o := range rec.Deltas {
		of := f
		if o.Version != f.version {
			of = w.recent[o.Version]
		}
		switch {
		case of != nil && of.delta.Digest == o.Digest:
		case of != nil && of.delta.Version == 0 && !of.checked:
			of.delta = o
		default:
			f.strays = append(f.strays, o)
		}
	}
}
