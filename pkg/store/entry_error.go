package store

import (
	"fmt"
	"strings"
)

// EntryError describes a damaged journal entry. It wraps [ErrDamaged].
type EntryError struct {
	Dataset string
	Number  uint64
	// Place is the path of the file, or the key in the bucket.
	Place string
	// Err describes the damage.
	Err error
}

// Error names the entry, its place, the damage and the remedy.
func (e *EntryError) Error() string {
	return fmt.Sprintf("%v: journal entry %d of %s at %s: %v; put back a good copy of it", ErrDamaged, e.Number, e.Dataset, e.Place, e.Err)
}

// Unwrap returns ErrDamaged and Err.
func (e *EntryError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// EntryErrors is the error of [Store].Entries about the damaged entries of a journal, oldest first. It wraps [ErrDamaged].
type EntryErrors []*EntryError

// Error returns the errors in one line.
func (e EntryErrors) Error() string {
	texts := make([]string, len(e))
	for i, d := range e {
		texts[i] = d.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (e EntryErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, d := range e {
		errs[i] = d
	}
	return errs
}
