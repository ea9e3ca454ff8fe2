package refresh

import "freshet.dev/pkg/dataset"

// A version that deletes its dataset is served like any other, so that numbers, ids, beacons and waits need no exception. Its Loaded says
// what readers have of it:
//
//   - Kept is set: readers keep the table of the version before.
//   - NoValue is set: the instance has no table to keep, so readers go on having none, and [Engine.Gone] says so.
//   - Neither: the version drops the table, and Value is the empty one.

// Kept names the version whose value a deleted version keeps.
type Kept struct {
	Record dataset.VersionRecord
	ID     dataset.VersionID
}

// Content returns the record and the id of the version whose value readers have: v's own, unless v keeps another.
func (v *Served[T]) Content() (dataset.VersionRecord, dataset.VersionID) {
	if v.Kept != nil {
		return v.Kept.Record, v.Kept.ID
	}
	return v.Record, v.ID
}

// isDeleted reports whether the served version rec, which is nil if there is none, deletes the dataset.
func isDeleted(rec *dataset.VersionRecord) bool { return rec != nil && rec.Deleted }

// show passes now, which the loop serves, to readers. A version without a value does not reach them.
func (s *datasetState[T, D]) show(now *Served[T]) {
	if now.NoValue {
		next := make(chan struct{})
		close(*s.gone.Swap(&next))
		return
	}
	if s.current.Swap(now) == nil {
		close(s.first)
	}
}

// Gone returns a channel that is closed when the next version arrives that deletes the dataset before the instance has a value of it; nil if
// the engine does not have the dataset. [Engine.Served] has that version.
func (e *Engine[T, D]) Gone(name string) <-chan struct{} {
	if s := e.datasets[name]; s != nil {
		return *s.gone.Load()
	}
	return nil
}
