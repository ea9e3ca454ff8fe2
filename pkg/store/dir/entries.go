package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// PutEntry implements [store.Store].
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
	return s.putEntry(e, b, s.root.Link)
}

// putEntry creates the file of the entry with link, which fails with fs.ErrExist if there is one.
func (s *Store) putEntry(e dataset.Entry, b []byte, link func(from, to string) error) error {
	err := s.putRecord("entry", layout.Entry(e.Dataset, e.Number), b, link)
	_, exists := errors.AsType[unsynced](err)
	switch {
	case exists:
		return fmt.Errorf("put journal entry %s: %w: %w", e.ID(), store.ErrUnknown, err)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("put journal entry %s: %w: another process put it at the same time", e.ID(), store.ErrExists)
	case err != nil:
		return fmt.Errorf("put journal entry %s: %w", e.ID(), err)
	}
	return nil
}

// Entry implements [store.Store].
func (s *Store) Entry(_ context.Context, name string, number uint64) (dataset.Entry, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.Entry{}, err
	}
	file := layout.Entry(name, number)
	b, err := s.readRecord(file)
	if errors.Is(err, store.ErrNotFound) {
		return dataset.Entry{}, records.NoEntry(name, number, s)
	}
	if why, ok := errors.AsType[notRecord](err); ok {
		return dataset.Entry{}, records.DamagedEntry(name, number, s.full(file), why)
	}
	if err != nil {
		return dataset.Entry{}, err
	}
	return records.DecodeEntry(b, name, number, s.full(file))
}

// NewestEntry implements [store.Store].
func (s *Store) NewestEntry(_ context.Context, name string) (uint64, error) {
	if err := dataset.CheckName(name); err != nil {
		return 0, err
	}
	return s.newestIn(layout.Entries(name))
}

// Entries implements [store.Store].
func (s *Store) Entries(ctx context.Context, name string, from uint64, limit int) ([]dataset.Entry, error) {
	newest, err := s.NewestEntry(ctx, name)
	if err != nil {
		return nil, err
	}
	var list records.EntryList
	for _, number := range records.EntryPage(newest, from, limit) {
		if err := context.Cause(ctx); err != nil {
			return list.Entries(), err
		}
		e, err := s.Entry(ctx, name, number)
		if errors.Is(err, store.ErrNotFound) {
			err = records.MissingEntry(name, number, newest, s.EntryPlace(name, number))
		}
		if err := list.Add(e, err); err != nil {
			return list.Entries(), err
		}
	}
	return list.Entries(), list.Err()
}

// Journals implements [store.Store].
func (s *Store) Journals(ctx context.Context) ([]string, error) {
	return s.foldersWithRecords(ctx, layout.JournalFolder)
}

// EntryPlace returns the path of a journal entry.
func (s *Store) EntryPlace(name string, number uint64) string {
	return s.full(layout.Entry(name, number))
}

// foldersWithRecords returns the sorted names of the datasets whose folders in folder have a record.
func (s *Store) foldersWithRecords(ctx context.Context, folder string) ([]string, error) {
	entries, err := fs.ReadDir(s.root.FS(), folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, s.failed("list folder", folder, err)
	}
	var names []string
	for _, e := range entries {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if !e.IsDir() || dataset.CheckName(e.Name()) != nil {
			continue
		}
		// A folder alone is not enough: it is created just before the first record.
		newest, err := s.newestIn(folder + "/" + e.Name())
		if err != nil {
			return nil, err
		}
		if newest > 0 {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
