package verify

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// foreign are the versions whose records name another store than the store's id.
type foreign struct {
	versions []Range
	id       dataset.StoreID // that the last of them names
}

// readID reads the store id. checkID reports what is wrong with it, once the records show whether the store needs one.
func (w *walk) readID(ctx context.Context) error {
	id, err := w.store.ID(ctx)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
		return fmt.Errorf("verify: read the store id: %w", err)
	}
	w.id = id
	return nil
}

// checkStore compares the store that rec names with the store id.
func (w *walk) checkStore(rec dataset.VersionRecord) {
	if rec.StoreID.IsZero() {
		return
	}
	w.hasIDs = true
	if !w.id.IsZero() && rec.StoreID != w.id {
		w.foreign.versions, w.foreign.id = extend(w.foreign.versions, rec.Version), rec.StoreID
	}
}

// checkID reports what is wrong with the store id. It reads the id again, because a publisher may have written it since.
func (w *walk) checkID(ctx context.Context) error {
	switch {
	case !w.id.IsZero() && len(w.foreign.versions) > 0:
		first := w.foreign.versions[0].First
		w.faults = append(w.faults, &fault{
			kind: KindStoreID, version: first, place: w.store.RecordPlace(w.name, first), lost: w.foreign.versions,
			problem: fmt.Sprintf("the records of %s name the store %s, and %s says %s", Text(w.foreign.versions), w.foreign.id, w.store.IDPlace(), w.id),
		})
		return nil
	case !w.id.IsZero() || !w.hasIDs || w.idReported:
		return nil
	}
	_, err := w.store.ID(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		err = errors.New("the store id is missing, and version records name one")
	case !errors.Is(err, store.ErrDamaged):
		return fmt.Errorf("verify: read the store id: %w", err)
	}
	w.idReported = true
	w.faults = append(w.faults, &fault{kind: KindStoreID, place: w.store.IDPlace(), problem: err.Error()})
	return nil
}
