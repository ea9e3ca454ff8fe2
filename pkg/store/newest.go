package store

import (
	"context"
	"errors"
)

// NewestVersion returns the number of the dataset's newest version, whose record may be damaged; 0 if there is none.
func NewestVersion(ctx context.Context, st Store, name string) (uint64, error) {
	records, err := st.Versions(ctx, name, 0, 1)
	damaged, ok := errors.AsType[RecordErrors](err)
	switch {
	case ok && len(damaged) > 0:
		return damaged[0].Version, nil
	case err != nil:
		return 0, err
	case len(records) == 0:
		return 0, nil
	}
	return records[0].Version, nil
}
