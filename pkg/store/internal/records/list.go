package records

import (
	"errors"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// Page returns the highest version and the number of versions that [store.Store].Versions reads for before and limit.
func Page(newest, before uint64, limit int) (from uint64, n int) {
	from = newest
	if before > 0 {
		from = min(newest, before-1)
	}
	if limit <= 0 || uint64(limit) > from {
		return from, int(from)
	}
	return from, limit
}

// List collects the result of [store.Store].Versions.
type List struct {
	records []dataset.VersionRecord
	damaged store.RecordErrors
}

// Add adds the record, or the error if it is a [store.RecordError]. It returns every other error, which ends the list.
func (l *List) Add(rec dataset.VersionRecord, err error) error {
	if err == nil {
		l.records = append(l.records, rec)
		return nil
	}
	damaged, ok := errors.AsType[*store.RecordError](err)
	if !ok {
		return err
	}
	l.damaged = append(l.damaged, damaged)
	return nil
}

// Records returns the records.
func (l *List) Records() []dataset.VersionRecord { return l.records }

// Err returns the damaged records as [store.RecordErrors]; nil if there are none.
func (l *List) Err() error {
	if len(l.damaged) == 0 {
		return nil
	}
	return l.damaged
}
