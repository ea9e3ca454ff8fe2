package delta

import (
	"context"
	"os"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// putBase commits the snapshot of d as version 1 of the dataset with the name.
func putBase(ctx context.Context, st store.Store, name string, d data) error {
	f, err := os.Open(d.Base.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := st.PutObject(ctx, d.Base.Object.Digest, d.Base.Object.Bytes, f); err != nil {
		return err
	}
	return st.PutVersion(ctx, dataset.VersionRecord{
		Dataset: name, Version: d.Base.Object.Version, Seed: rows.Seed, State: d.Base.State, PayloadBytes: d.Base.Payload,
		Snapshot: d.Base.Object, Changes: dataset.Changes{Added: uint64(d.Records)}, Created: time.Now().UTC(),
	})
}
