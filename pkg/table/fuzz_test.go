package table

import (
	"bytes"
	"errors"
	"testing"

	"freshet.dev/pkg/snapshot"
)

// FuzzLoad loads arbitrary bytes. Load must refuse the same files as a snapshot.Reader, and return a table with exactly the
// records of any other file.
func FuzzLoad(f *testing.F) {
	for _, m := range []map[string][]byte{nil, numberedRecords(1, 0), numberedRecords(40, 30)} {
		f.Add(snapshotOf(f, testSeed, m, 1))
		f.Add(snapshotOf(f, 0, m, 2<<20))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		h, m, err := readAll(file)
		tab, loadErr := load(t, file, Config{})
		switch {
		case err == nil && h.Kind == snapshot.Delta:
			if !errors.Is(loadErr, ErrKind) {
				t.Fatalf("load of a delta: %v", loadErr)
			}
			return
		case (err == nil) != (loadErr == nil):
			t.Fatalf("Reader: %v; Load: %v", err, loadErr)
		case err != nil:
			return
		}
		check(t, tab, h.Seed, m)
	})
}

// readAll returns the header and the records of a file, or the error of the Reader.
func readAll(file []byte) (snapshot.Header, map[string][]byte, error) {
	r, err := snapshot.NewReader(bytes.NewReader(file))
	if err != nil {
		return snapshot.Header{}, nil, err
	}
	m := make(map[string][]byte)
	for rec, err := range r.Records() {
		if err != nil {
			return r.Header(), nil, err
		}
		m[string(rec.Key)] = bytes.Clone(rec.Value)
	}
	return r.Header(), m, nil
}
