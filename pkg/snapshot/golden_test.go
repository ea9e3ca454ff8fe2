package snapshot

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

var update = flag.Bool("update", false, "write the goldens in testdata anew")

// tied are two keys that have the same hash with testSeed: found by inverting XXH3's mix of keys of 4 to 8 bytes.
var tied = [...]string{"k4ysb6w", "u21hfbaa"}

// goldens describes the files in testdata.
var goldens = map[string]struct {
	cfg     WriterConfig
	entries []dataset.Record
	before  []dataset.Record // of the version that a delta applies to
	after   []dataset.Record // of the version that a delta leads to
}{
	"snapshot-empty": {cfg: WriterConfig{Kind: Snapshot, Seed: testSeed}},
	"snapshot": {
		cfg: WriterConfig{Kind: Snapshot, Seed: testSeed},
		entries: []dataset.Record{
			up("ean-4006381333931", `{"key":"ean-4006381333931","name":"pen","price":1.20}`),
			up("ean-4006381333948", `{"key":"ean-4006381333948","name":"pen, blue","price":1.25}`),
			up("empty", ""),
			up(tied[0], "comes first"),
			up(tied[1], "has the same hash"),
			up("\x00", "a key need not be text"),
			up(strings.Repeat("long", 20), "two bytes of length"),
		},
	},
	// The expected size results in four partitions; one of them is empty and has no block.
	"snapshot-partitions": {
		cfg:     WriterConfig{Kind: Snapshot, Seed: testSeed, RawBytes: 4 * maxTarget},
		entries: []dataset.Record{up("berlin", "3.7"), up("paris", "2.1"), up("rome", "2.8"), up("oslo", "0.7"), up("bern", "0.1")},
	},
	// The frame of so many equal bytes is too short and needs padding.
	"snapshot-padded": {
		cfg:     WriterConfig{Kind: Snapshot, Seed: testSeed},
		entries: []dataset.Record{up("zeros", strings.Repeat("0", 72<<10))},
	},
	"delta": {
		cfg:     WriterConfig{Kind: Delta, Seed: testSeed},
		entries: []dataset.Record{up("berlin", "3.8"), gone("bern"), gone(tied[0]), up(tied[1], "stays"), up("wien", "2.0")},
		before:  []dataset.Record{up("berlin", "3.7"), up("bern", "0.1"), up("oslo", "0.7"), up(tied[0], "goes")},
		after:   []dataset.Record{up("berlin", "3.8"), up("wien", "2.0"), up("oslo", "0.7"), up(tied[1], "stays")},
	},
	"delta-empty": {
		cfg:    WriterConfig{Kind: Delta, Seed: testSeed},
		before: []dataset.Record{up("oslo", "0.7")},
		after:  []dataset.Record{up("oslo", "0.7")},
	},
}

// golden returns the file of that name and its entries in order.
func golden(tb testing.TB, name string) ([]byte, []dataset.Record, Totals) {
	tb.Helper()
	g := goldens[name]
	entries := sorted(testSeed, append([]dataset.Record(nil), g.entries...))
	g.cfg.Base = stateOf(testSeed, g.before)
	file, totals := write(tb, g.cfg, entries, stateOf(testSeed, g.after))
	return file, entries, totals
}

// TestGoldens checks that the format does not change: a Writer writes the files of testdata, byte for byte, and a Reader
// reads them. Run with -update after a change of zstd's encoder; then only stored bytes may differ.
func TestGoldens(t *testing.T) {
	if a, b := dataset.Hash(testSeed, []byte(tied[0])), dataset.Hash(testSeed, []byte(tied[1])); a != b {
		t.Fatalf("%q has hash %016x, %q %016x: the test needs keys of one hash", tied[0], a, tied[1], b)
	}
	for name := range goldens {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".golden")
			file, entries, totals := golden(t, name)
			text := annotate(file)
			if *update {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; make it with go test -run TestGoldens -update", err)
			}
			if text != string(want) {
				t.Errorf("the Writer writes another file than %s:\n%s", path, text)
			}
			kept, err := unannotate(want)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(bytes.NewReader(kept)); err != nil || !sameRecords(got, entries) {
				t.Errorf("the Reader reads %s as %v, %v", path, got, err)
			}
			object := dataset.Object{Digest: totals.Digest, Bytes: totals.FileBytes}
			if h, got, err := verify(bytes.NewReader(kept), Expect(object)); err != nil || got != totals || h.Kind != goldens[name].cfg.Kind {
				t.Errorf("Verify of %s: %+v, %+v, %v", path, h, got, err)
			}
		})
	}
}
