package subscribe

import (
	"errors"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// ErrDeleted is wrapped by every [*DeletedError].
var ErrDeleted = errors.New("the dataset is deleted")

// DeletedError is returned by waits and lookups of a dataset that was deleted before this instance had a table of it. It also wraps
// [ErrNoVersion].
type DeletedError struct {
	// Record is the version that deletes the dataset: who, why and when.
	Record dataset.VersionRecord
}

// Error says who deleted the dataset, and why.
func (e *DeletedError) Error() string {
	return "dataset " + e.Record.Dataset + ": " + e.Record.DeletedText()
}

// Unwrap returns ErrDeleted and ErrNoVersion.
func (*DeletedError) Unwrap() []error { return []error{ErrDeleted, ErrNoVersion} }

// Deleted returns the record of the version that deletes the dataset; ok is false if the newest version that this instance has does not. A
// deleted dataset goes on answering from its table, whose version [Dataset.Version] returns. Only if the record says Dropped, the table is
// that of the deleted version, which is empty.
func (d *Dataset) Deleted() (rec dataset.VersionRecord, ok bool) {
	if v := d.s.engine.Served(d.name); v != nil && v.Record.Deleted {
		return v.Record, true
	}
	return dataset.VersionRecord{}, false
}

// none returns the error of a lookup without a table.
func (d *Dataset) none() error {
	if v := d.s.engine.Served(d.name); v != nil && v.NoValue {
		return &DeletedError{v.Record}
	}
	return d.noVersion
}

// gone returns a [*DeletedError] if the dataset is deleted, this instance has no table of it, and no newer version is known; nil if not.
func (d *Dataset) gone() error {
	h, v, _ := d.s.engine.Judge(d.name)
	if v == nil || !v.NoValue || h.Newest > v.Record.Version {
		return nil
	}
	return &DeletedError{v.Record}
}

// deletion returns what the status says of v, which may delete its dataset; nil if it does not.
func deletion(v *served) *fleet.Deletion {
	if !v.Record.Deleted {
		return nil
	}
	d := &fleet.Deletion{By: v.Record.By, Reason: v.Record.Reason, At: v.Record.Created, Dropped: v.Record.Dropped}
	if !v.NoValue {
		rec, id := v.Content()
		d.Serves = dataset.Ref{Version: rec.Version, ID: id}
	}
	return d
}
