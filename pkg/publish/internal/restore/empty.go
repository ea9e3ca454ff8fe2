package restore

import (
	"context"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/publish/internal/build"
)

// empty restores the snapshot o of rec, a version that deletes its dataset. No other object is needed.
func (r *Restorer) empty(ctx context.Context, rec dataset.VersionRecord, o dataset.Object) error {
	folder, err := scratch.New(r.cfg.TempDir)
	if err != nil {
		return fmt.Errorf("restore the snapshot of version %s: %w", rec.ID(), err)
	}
	defer folder.Discard(r.cfg.Log, rec.Dataset)
	path := folder.Path("empty")
	made, err := build.WriteEmpty(path, rec.Seed)
	switch {
	case err != nil:
		return fmt.Errorf("restore the snapshot of version %s: %w", rec.ID(), err)
	case made.Digest != o.Digest || made.Bytes != o.Bytes:
		return ErrOtherBytes
	}
	return r.history.Objects.Put(ctx, path, o)
}
