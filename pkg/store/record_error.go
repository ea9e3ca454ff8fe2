package store

import (
	"fmt"
	"strings"
)

// RecordError describes a damaged version record. It wraps [ErrDamaged].
type RecordError struct {
	Dataset string
	Version uint64
	// Place is the path of the file, or the key in the bucket.
	Place string
	// Err describes the damage.
	Err error
}

// Error names the record, its place, the damage and the remedy.
func (e *RecordError) Error() string {
	return fmt.Sprintf("%v: the record of %s version %d at %s: %v; put back a good copy of it", ErrDamaged, e.Dataset, e.Version, e.Place, e.Err)
}

// Unwrap returns ErrDamaged and Err.
func (e *RecordError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// RecordErrors is the error of [Store].Versions about the damaged records of a dataset, newest first. It wraps [ErrDamaged].
type RecordErrors []*RecordError

// Error returns the errors in one line.
func (e RecordErrors) Error() string {
	texts := make([]string, len(e))
	for i, r := range e {
		texts[i] = r.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (e RecordErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, r := range e {
		errs[i] = r
	}
	return errs
}
