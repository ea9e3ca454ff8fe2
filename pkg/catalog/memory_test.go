package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
)

// bound is the documented bound of a dataset, in bytes as Redis counts them.
const bound = 64 << 10

func TestMemoryOfADatasetIsBounded(t *testing.T) {
	for _, tc := range []struct {
		name             string
		versions, deltas int
		// labels is the text that the labels and the source repeat; empty for few and short labels.
		labels string
		// whole is the least number of records with deltas, kept the least number of records.
		whole, kept int
	}{
		{"ten versions", 10, 0, "", 10, 10},
		{"ten versions with chains", 10, 32, "", 10, 10},
		{"many versions", 100, 0, "", catalog.MaxVersions, catalog.MaxVersions},
		{"long chains", 100, 60, "", 3, catalog.MaxVersions},
		{"longest chain that is not trimmed", 40, 440, "", 1, 2},
		{"large labels", 60, 100, "v", 1, 2},
		{"chain beyond the bound", 40, dataset.MaxDeltas, "", 0, catalog.MaxVersions},
		{"everything at its limit", 40, dataset.MaxDeltas, "v", 0, 2},
		{"labels of <", 40, 0, "<", 0, 2},
		{"labels of quotes", 40, 0, `"`, 1, 1},
		{"labels of control characters", 40, 40, "\x01", 0, 2},
		{"labels of line separators", 40, 30, "\u2028", 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, _, rdb, c := open(t)
			var last dataset.VersionRecord
			for i := range tc.versions {
				last = record(uint64(2000+i), tc.deltas)
				if tc.labels != "" {
					last.Source = strings.Repeat(tc.labels, dataset.MaxSourceBytes/len(tc.labels))
					for l := range dataset.MaxLabels {
						value := strings.Repeat(tc.labels, dataset.MaxLabelBytes/len(tc.labels))
						last.Labels[fmt.Sprintf("%02d", l)+value[:len(value)-2*len(tc.labels)]] = value
					}
					delete(last.Labels, "release")
				}
				advance(t, ctx, c, last, true)

				var total int64
				keys, err := rdb.Keys(ctx, "*").Result()
				if err != nil {
					t.Fatal(err)
				}
				for _, key := range keys {
					if !strings.HasPrefix(key, "freshet:v1:") {
						t.Errorf("the key %q lacks the prefix", key)
					}
					n, err := rdb.MemoryUsage(ctx, key, 0).Result()
					if err != nil {
						t.Fatal(err)
					}
					total += n
				}
				if total >= bound {
					t.Fatalf("%d bytes after %d versions, want less than %d", total, i+1, bound)
				}
				if i == tc.versions-1 {
					t.Logf("%d bytes", total)
				}
			}

			records, err := c.Versions(ctx, "cities", 0)
			if err != nil {
				t.Fatal(err)
			}
			whole := 0
			for i, r := range records {
				if r.Version != last.Version-uint64(i) {
					t.Fatalf("record %d is version %d: a gap", i, r.Version)
				}
				if r.Check() == nil {
					if whole++; whole != i+1 {
						t.Errorf("version %d is whole, a newer one is not", r.Version)
					}
				}
			}
			t.Logf("%d records, %d of them whole", len(records), whole)
			if whole < tc.whole || len(records) < tc.kept || len(records) > catalog.MaxVersions {
				t.Errorf("%d records, %d of them whole; want at least %d and %d", len(records), whole, tc.kept, tc.whole)
			}
			got, err := c.Latest(ctx, "cities")
			if tc.whole == 0 {
				if !errors.Is(err, catalog.ErrTrimmed) {
					t.Errorf("Latest of a version that is too long: %v", err)
				}
			} else if err != nil || got.Version != last.Version || len(got.Deltas) != tc.deltas {
				t.Errorf("Latest = %s with %d deltas, %v", got.ID(), len(got.Deltas), err)
			}
		})
	}
}
