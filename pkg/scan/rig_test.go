package scan_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/scan"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
)

// tableWith returns a version of a dataset with the seed.
func tableWith(tb testing.TB, seed, version uint64, records map[string]string) *table.Table {
	tb.Helper()
	var all []dataset.Record
	var raw int64
	for k, v := range records {
		r := dataset.Record{Key: []byte(k), Value: []byte(v)}
		all, raw = append(all, r), raw+int64(r.EncodedBytes())
	}
	slices.SortFunc(all, func(a, b dataset.Record) int {
		return cmp.Or(cmp.Compare(dataset.Hash(seed, a.Key), dataset.Hash(seed, b.Key)), bytes.Compare(a.Key, b.Key))
	})
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: seed, RawBytes: raw})
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range all {
		if err := w.Add(r); err != nil {
			tb.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	reader, err := snapshot.NewReader(&file)
	if err != nil {
		tb.Fatal(err)
	}
	loaded, err := table.Load(context.Background(), reader, table.Config{Version: version})
	if err != nil {
		tb.Fatal(err)
	}
	return loaded
}

const seed = 7

func tableOf(tb testing.TB, records map[string]string) *table.Table {
	tb.Helper()
	return tableWith(tb, seed, 12, records)
}

func newLane(width, queue int) *lane.Lane {
	return lane.New(lane.Config{Name: "cpu", Width: width, Queue: queue, Wait: 2 * time.Second})
}

// request parses the JSON of a request.
func request(tb testing.TB, text string) (r scan.Request) {
	tb.Helper()
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return r
}

// answer is what a scan gave.
type answer struct {
	rows []string
	scan.Summary
}

// sorted returns the rows in the order of their text.
func (a answer) sorted() []string { return slices.Sorted(slices.Values(a.rows)) }

// run scans the table and fails the test on an error.
func run(tb testing.TB, t *table.Table, r scan.Request) answer {
	tb.Helper()
	a, err := try(tb.Context(), t, r, scan.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func try(ctx context.Context, t *table.Table, r scan.Request, limits scan.Limits) (a answer, err error) {
	plan, err := scan.Compile(ctx, r, limits)
	if err != nil {
		return a, err
	}
	s, err := plan.Open(t, dataset.VersionID{1})
	if err != nil {
		return a, err
	}
	a.Summary, err = s.Run(ctx, newLane(1, 1), func(rows []byte) error {
		a.rows = append(a.rows, strings.Split(strings.TrimSuffix(string(rows), "\n"), "\n")...)
		return nil
	})
	return a, err
}
