package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"freshet.dev/pkg/dataset"
)

func (d *dir) PutClaim(_ context.Context, c dataset.Claim) error {
	b, err := c.Encode()
	if err != nil {
		return err
	}
	err = d.putSmall("claim", claimName(c.Dataset, c.Version), b, d.root.Link)
	if errors.Is(err, fs.ErrExist) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("put claim %s: %w", c.ID(), err)
	}
	return nil
}

func (d *dir) NewestClaim(_ context.Context, name string, after, upTo uint64) (dataset.Claim, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.Claim{}, err
	}
	newest, err := d.highest(claimsName(name), after, upTo)
	if err != nil {
		return dataset.Claim{}, err
	}
	if newest == 0 {
		return dataset.Claim{}, noClaim(name, d)
	}
	file := claimName(name, newest)
	b, err := d.readSmall(file)
	if errors.Is(err, ErrNotFound) {
		return dataset.Claim{}, noClaim(name, d) // dropped since
	}
	if odd, ok := errors.AsType[oddFile](err); ok {
		return dataset.Claim{}, damagedClaim(name, newest, d.full(file), odd)
	}
	if err != nil {
		return dataset.Claim{}, err
	}
	return decodeClaim(b, name, newest, d.full(file))
}

func (d *dir) DropClaim(_ context.Context, name string, version uint64) error {
	if err := dataset.CheckName(name); err != nil {
		return err
	}
	file := claimName(name, version)
	if err := d.root.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.failed("remove", file, err)
	}
	return nil
}
