package dir_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store/dir"
	"freshet.dev/pkg/store/internal/layout"
)

// BenchmarkLatest shows what finding the newest of many versions costs, at the first call and later.
func BenchmarkLatest(b *testing.B) {
	const versions = 10_000
	folder := b.TempDir()
	rec := dataset.VersionRecord{Dataset: "prices", Created: time.Now(), Snapshot: dataset.Object{Digest: dataset.Digest{1}, Bytes: 1}}
	if err := os.MkdirAll(filepath.Join(folder, "versions", "prices"), 0o755); err != nil {
		b.Fatal(err)
	}
	for v := range uint64(versions) {
		rec.Version, rec.Snapshot.Version = v+1, v+1
		j, err := rec.Encode()
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, layout.Version("prices", v+1)), j, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	latest := func(b *testing.B, st *dir.Store) {
		if rec, err := st.Latest(b.Context(), "prices"); err != nil || rec.Version != versions {
			b.Fatal(rec.Version, err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			st, err := dir.Open(folder)
			if err != nil {
				b.Fatal(err)
			}
			latest(b, st)
			_ = st.Close()
		}
	})
	b.Run("later", func(b *testing.B) {
		st, err := dir.Open(folder)
		if err != nil {
			b.Fatal(err)
		}
		defer st.Close()
		for b.Loop() {
			latest(b, st)
		}
	})
}
