package s3

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// PutClaim implements [store.Store].
func (s *Store) PutClaim(ctx context.Context, c dataset.Claim) error {
	b, err := c.Encode()
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if _, err := s.commit(ctx, layout.Claim(c.Dataset, c.Version), b); err != nil {
		return fmt.Errorf("put claim %s: %w", c.ID(), err)
	}
	return nil
}

// NewestClaim implements [store.Store]. It costs one list request, and a read if there is a claim.
func (s *Store) NewestClaim(ctx context.Context, name string, after, upTo uint64) (dataset.Claim, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.Claim{}, err
	}
	claims, err := s.listFrom(ctx, layout.Claims(name), after+1, s.pageKeys)
	if err != nil {
		return dataset.Claim{}, err
	}
	newest := uint64(0)
	for _, c := range claims {
		if c.version <= upTo {
			newest = c.version
		}
	}
	if newest == 0 {
		return dataset.Claim{}, records.NoClaim(name, s)
	}
	file := layout.Claim(name, newest)
	b, _, err := s.readRecord(ctx, file)
	if errors.Is(err, store.ErrNotFound) {
		return dataset.Claim{}, records.NoClaim(name, s) // removed since it was listed
	}
	if err != nil {
		return dataset.Claim{}, err
	}
	return records.DecodeClaim(b, name, newest, s.full(file))
}

// DropClaim implements [store.Store].
func (s *Store) DropClaim(ctx context.Context, name string, version uint64) error {
	if err := dataset.CheckName(name); err != nil {
		return err
	}
	return s.remove(ctx, layout.Claim(name, version))
}
