package load

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/table"
)

// TestShorteningOfSimilarHashes writes a snapshot of 70 MiB of records whose hashes share ten leading bits: too many records for the
// block that the table's size gives them.
func TestShorteningOfSimilarHashes(t *testing.T) {
	var keys [][]byte
	hash := func(key []byte) uint64 { return dataset.Hash(1, key) }
	for i := 0; len(keys) < 70; i++ {
		if key := fmt.Appendf(nil, "key%d", i); hash(key)>>54 == 5 {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b []byte) int {
		if hash(a) < hash(b) {
			return -1
		}
		return 1
	})
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: 1, RawBytes: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	value := bytes.Repeat([]byte("0123456789abcdef"), dataset.MaxValueBytes/16)
	for _, key := range keys {
		if err := w.Add(dataset.Record{Key: key, Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	totals, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	tab, err := table.Load(t.Context(), r, table.Config{Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	rec := dataset.VersionRecord{
		Dataset: "prices", Version: 1, Seed: 1, State: totals.State, Created: time.Unix(1, 0),
		Snapshot: dataset.Object{Version: 1, Digest: totals.Digest, Bytes: totals.FileBytes},
	}
	cache := cachedir.New(t.TempDir())
	defer cache.Close()
	s := NewShortener(cache)
	if err := s.shorten(t.Context(), shortenTry{rec, tab}); err != nil {
		t.Fatal(err)
	}
	l := &Loader{Cache: cache}
	v, err := l.stored(t.Context(), "prices", func() {})
	if err != nil || v.Value.State() != totals.State || v.Value.Len() != len(keys) {
		t.Errorf("the cache folder holds %v, %v", v.Record.Ref(), err)
	}
}
