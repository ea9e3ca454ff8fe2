package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sourcegraph/conc/iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// PutEntry implements [store.Store]. It costs a list request and a write.
func (s *Store) PutEntry(ctx context.Context, e dataset.Entry) error {
	b, err := e.Encode()
	if err != nil {
		return err
	}
	newest, err := s.NewestEntry(ctx, e.Dataset)
	if err != nil {
		return err
	}
	if err := records.CheckNextEntry(e, newest); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if _, err := s.commit(ctx, layout.Entry(e.Dataset, e.Number), b); err != nil {
		return fmt.Errorf("put journal entry %s: %w", e.ID(), err)
	}
	return nil
}

// Entry implements [store.Store].
func (s *Store) Entry(ctx context.Context, name string, number uint64) (dataset.Entry, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.Entry{}, err
	}
	b, _, err := s.readRecord(ctx, layout.Entry(name, number))
	if errors.Is(err, store.ErrNotFound) {
		return dataset.Entry{}, records.NoEntry(name, number, s)
	}
	if err != nil {
		return dataset.Entry{}, err
	}
	return records.DecodeEntry(b, name, number, s.EntryPlace(name, number))
}

// NewestEntry implements [store.Store]. It costs one list request.
func (s *Store) NewestEntry(ctx context.Context, name string) (uint64, error) {
	if err := dataset.CheckName(name); err != nil {
		return 0, err
	}
	newest, err := s.newestIn(ctx, layout.Entries(name))
	return newest.version, err
}

// Entries implements [store.Store].
func (s *Store) Entries(ctx context.Context, name string, from uint64, limit int) ([]dataset.Entry, error) {
	newest, err := s.NewestEntry(ctx, name)
	if err != nil {
		return nil, err
	}
	type answer struct {
		entry dataset.Entry
		err   error
	}
	numbers := records.EntryPage(newest, from, limit)
	answers := iter.Mapper[uint64, answer]{MaxGoroutines: readConcurrency}.Map(numbers, func(number *uint64) answer {
		e, err := s.Entry(ctx, name, *number)
		if errors.Is(err, store.ErrNotFound) {
			err = records.MissingEntry(name, *number, newest, s.EntryPlace(name, *number))
		}
		return answer{e, err}
	})
	var list records.EntryList
	for _, a := range answers {
		if err := list.Add(a.entry, a.err); err != nil {
			return list.Entries(), err
		}
	}
	return list.Entries(), list.Err()
}

// Journals implements [store.Store]. It costs a list request for each 1,000 journals, and one for each journal.
func (s *Store) Journals(ctx context.Context) ([]string, error) {
	return s.foldersWithRecords(ctx, layout.JournalFolder)
}

// EntryPlace returns the key of a journal entry.
func (s *Store) EntryPlace(name string, number uint64) string {
	return s.full(layout.Entry(name, number))
}

// foldersWithRecords returns the sorted names of the datasets whose folders in folder have a record.
func (s *Store) foldersWithRecords(ctx context.Context, folder string) ([]string, error) {
	names, err := s.folders(ctx, folder)
	if err != nil {
		return nil, err
	}
	// A folder may have other files than records.
	newest, err := iter.Mapper[string, knownRecord]{MaxGoroutines: readConcurrency}.MapErr(names, func(name *string) (knownRecord, error) {
		return s.newestIn(ctx, folder+"/"+*name)
	})
	if err != nil {
		return nil, err
	}
	var with []string
	for i, name := range names {
		if newest[i].version > 0 {
			with = append(with, name)
		}
	}
	slices.Sort(with)
	return with, nil
}
