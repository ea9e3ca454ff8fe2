package table

import (
	"bytes"
	"errors"
	"testing"

	"freshet.dev/pkg/snapshot"
)

// FuzzLoad loads arbitrary bytes. Load must refuse the same files as snapshot.Verify, and return a table with exactly the
// records of any other file.
func FuzzLoad(f *testing.F) {
	for _, m := range []map[string][]byte{nil, numberedRecords(1, 0), numberedRecords(40, 30)} {
		f.Add(snapshotOf(f, testSeed, m, 1))
		f.Add(snapshotOf(f, 0, m, 2<<20))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		h, _, err := snapshot.Verify(bytes.NewReader(file))
		tab, loadErr := load(t, file, Config{})
		switch {
		case err == nil && h.Kind == snapshot.Delta:
			if !errors.Is(loadErr, ErrKind) {
				t.Fatalf("load of a delta: %v", loadErr)
			}
			return
		case (err == nil) != (loadErr == nil):
			t.Fatalf("Verify: %v; Load: %v", err, loadErr)
		case err != nil:
			return
		}
		m := make(map[string][]byte)
		r, err := snapshot.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range r.Records() {
			if err != nil {
				t.Fatal(err)
			}
			m[string(rec.Key)] = bytes.Clone(rec.Value)
		}
		check(t, tab, h.Seed, m)
	})
}
