package store

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"github.com/minio/minio-go/v7"
)

func (s *s3) PutClaim(ctx context.Context, c dataset.Claim) error {
	b, err := c.Encode()
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if _, err := s.commit(ctx, claimName(c.Dataset, c.Version), b); err != nil {
		return fmt.Errorf("put claim %s: %w", c.ID(), err)
	}
	return nil
}

// NewestClaim costs one list request, and a read if there is a claim.
func (s *s3) NewestClaim(ctx context.Context, name string, after, upTo uint64) (dataset.Claim, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.Claim{}, err
	}
	found, err := s.listFrom(ctx, claimsName(name), after+1, s.pageKeys)
	if err != nil {
		return dataset.Claim{}, err
	}
	newest := uint64(0)
	for _, f := range found {
		if f.version <= upTo {
			newest = f.version
		}
	}
	if newest == 0 {
		return dataset.Claim{}, noClaim(name, s)
	}
	file := claimName(name, newest)
	b, _, err := s.readRecord(ctx, file)
	if errors.Is(err, ErrNotFound) {
		return dataset.Claim{}, noClaim(name, s) // dropped since
	}
	if err != nil {
		return dataset.Claim{}, err
	}
	return decodeClaim(b, name, newest, s.full(file))
}

func (s *s3) DropClaim(ctx context.Context, name string, version uint64) error {
	if err := dataset.CheckName(name); err != nil {
		return err
	}
	file := claimName(name, version)
	if err := s.core.RemoveObject(ctx, s.settings.bucket, s.key(file), minio.RemoveObjectOptions{}); err != nil {
		return s.failed("remove", file, err)
	}
	return nil
}
