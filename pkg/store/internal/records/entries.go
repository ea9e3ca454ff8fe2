package records

import (
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// DecodeEntry is DecodeVersion for a journal entry.
func DecodeEntry(b []byte, name string, number uint64, place string) (dataset.Entry, error) {
	e, err := dataset.DecodeEntry(b)
	if err == nil && (e.Dataset != name || e.Number != number) {
		err = fmt.Errorf("it is the entry %s", e.ID())
	}
	if err != nil {
		return dataset.Entry{}, DamagedEntry(name, number, place, err)
	}
	return e, nil
}

// DamagedEntry returns the error for a damaged journal entry.
func DamagedEntry(name string, number uint64, place string, why error) error {
	return &store.EntryError{Dataset: name, Number: number, Place: place, Err: why}
}

// MissingEntry returns the error for a lost journal entry: entry newest exists, so the entry must exist too.
func MissingEntry(name string, number, newest uint64, place string) error {
	return DamagedEntry(name, number, place, fmt.Errorf("it is missing, although entry %d exists", newest))
}

// NoEntry returns the error for a journal entry that does not exist.
func NoEntry(name string, number uint64, st store.Store) error {
	return fmt.Errorf("journal entry %d of %s: %w %s", number, name, store.ErrNotFound, st)
}

// CheckNextEntry is CheckNext for a journal entry.
func CheckNextEntry(e dataset.Entry, newest uint64) error {
	switch {
	case e.Number <= newest:
		return fmt.Errorf("put journal entry %s: %w: the newest is %d", e.ID(), store.ErrExists, newest)
	case e.Number > newest+1:
		return fmt.Errorf("put journal entry %s: %w: the newest is %d, so the next is %d", e.ID(), store.ErrGap, newest, newest+1)
	}
	return nil
}

// EntryPage returns the numbers that [store.Store].Entries reads for from and limit.
func EntryPage(newest, from uint64, limit int) []uint64 {
	from = max(from, 1)
	if from > newest {
		return nil
	}
	n := newest - from + 1
	if limit > 0 {
		n = min(n, uint64(limit))
	}
	numbers := make([]uint64, n)
	for i := range numbers {
		numbers[i] = from + uint64(i)
	}
	return numbers
}

// EntryList is List for [store.Store].Entries.
type EntryList struct {
	entries []dataset.Entry
	damaged store.EntryErrors
}

// Add adds the entry, or the error if it is a [store.EntryError]. It returns every other error, which ends the list.
func (l *EntryList) Add(e dataset.Entry, err error) error {
	if err == nil {
		l.entries = append(l.entries, e)
		return nil
	}
	damaged, ok := errors.AsType[*store.EntryError](err)
	if !ok {
		return err
	}
	l.damaged = append(l.damaged, damaged)
	return nil
}

// Entries returns the entries.
func (l *EntryList) Entries() []dataset.Entry { return l.entries }

// Err returns the damaged entries as [store.EntryErrors]; nil if there are none.
func (l *EntryList) Err() error {
	if len(l.damaged) == 0 {
		return nil
	}
	return l.damaged
}
