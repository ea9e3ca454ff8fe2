package store

import (
	"errors"
	"fmt"
	"strings"
)

// RecordError says which version record is damaged, and where it lies. It wraps [ErrDamaged].
type RecordError struct {
	Dataset string
	Version uint64
	// Place is the path of the file, or the key in the bucket.
	Place string
	// Err says what is wrong.
	Err error
}

// Error names the record, its place, what is wrong and what to do.
func (e *RecordError) Error() string {
	return fmt.Sprintf("%v: the record of %s version %d at %s: %v; put back a good copy of it", ErrDamaged, e.Dataset, e.Version, e.Place, e.Err)
}

// Unwrap returns ErrDamaged and what is wrong.
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

// add takes err if it is about one damaged record; it reports false for every other error.
func (e *RecordErrors) add(err error) bool {
	r, ok := errors.AsType[*RecordError](err)
	if ok {
		*e = append(*e, r)
	}
	return ok
}

// orNil returns nil if there are no errors.
func (e RecordErrors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

func damagedRecord(name string, version uint64, place string, why error) error {
	return &RecordError{Dataset: name, Version: version, Place: place, Err: why}
}

func missingRecord(name string, version, newest uint64, place string) error {
	return damagedRecord(name, version, place, fmt.Errorf("it is gone, although version %d is there", newest))
}
