package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// PutClaim implements [store.Store].
func (s *Store) PutClaim(_ context.Context, c dataset.Claim) error {
	b, err := c.Encode()
	if err != nil {
		return err
	}
	err = s.putRecord("claim", layout.Claim(c.Dataset, c.Version), b, s.root.Link)
	if errors.Is(err, fs.ErrExist) {
		err = store.ErrExists
	}
	if err != nil {
		return fmt.Errorf("put claim %s: %w", c.ID(), err)
	}
	return nil
}

// NewestClaim implements [store.Store].
func (s *Store) NewestClaim(_ context.Context, name string, after, upTo uint64) (dataset.Claim, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.Claim{}, err
	}
	newest, err := s.highest(layout.Claims(name), after, upTo)
	if err != nil {
		return dataset.Claim{}, err
	}
	if newest == 0 {
		return dataset.Claim{}, records.NoClaim(name, s)
	}
	file := layout.Claim(name, newest)
	b, err := s.readRecord(file)
	if errors.Is(err, store.ErrNotFound) {
		return dataset.Claim{}, records.NoClaim(name, s) // removed since it was listed
	}
	if why, ok := errors.AsType[notRecord](err); ok {
		return dataset.Claim{}, records.DamagedClaim(name, newest, s.full(file), why)
	}
	if err != nil {
		return dataset.Claim{}, err
	}
	return records.DecodeClaim(b, name, newest, s.full(file))
}

// DropClaim implements [store.Store].
func (s *Store) DropClaim(_ context.Context, name string, version uint64) error {
	if err := dataset.CheckName(name); err != nil {
		return err
	}
	file := layout.Claim(name, version)
	if err := s.root.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.failed("remove", file, err)
	}
	return nil
}
