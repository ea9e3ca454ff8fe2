package journal

import (
	"context"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/gone"
)

// Gone returns the versions of the dataset whose objects were removed, by the newest entry that says so and is not damaged.
func (j *Journal) Gone(ctx context.Context, name string) (dataset.VersionRanges, error) {
	versions, err := gone.Of(ctx, j.deps.Store, name)
	return versions.VersionRanges, err
}
