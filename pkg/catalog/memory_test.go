package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
)

// bound is what DESIGN and the package promise for a dataset, in bytes of Redis as it counts them itself.
const bound = 64 << 10

func TestMemoryOfADatasetIsBounded(t *testing.T) {
	for _, tc := range []struct {
		name             string
		versions, deltas int
		labels           bool
		// whole and kept are the least number of records that must be there with their deltas, and at all.
		whole, kept int
	}{
		{"ten versions", 10, 0, false, 10, 10},
		{"ten versions with chains", 10, 32, false, 10, 10},
		{"many versions", 100, 0, false, catalog.MaxVersions, catalog.MaxVersions},
		{"long chains", 100, 60, false, 3, catalog.MaxVersions},
		{"longest chain that is kept whole", 40, 440, false, 1, 2},
		{"great labels", 60, 100, true, 1, 2},
		{"chain beyond the bound", 40, dataset.MaxDeltas, false, 0, catalog.MaxVersions},
		{"everything at its limit", 40, dataset.MaxDeltas, true, 0, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, _, rdb, c := open(t)
			var last dataset.VersionRecord
			for i := range tc.versions {
				last = record(uint64(2000+i), tc.deltas)
				if tc.labels {
					last.Source = strings.Repeat("s", dataset.MaxSourceBytes)
					for l := range dataset.MaxLabels {
						key := fmt.Sprintf("%0*d", dataset.MaxLabelBytes, l)
						last.Labels[key] = strings.Repeat("v", dataset.MaxLabelBytes)
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
					t.Errorf("Latest of what cannot be kept whole: %v", err)
				}
			} else if err != nil || got.Version != last.Version || len(got.Deltas) != tc.deltas {
				t.Errorf("Latest = %s with %d deltas, %v", got.ID(), len(got.Deltas), err)
			}
		})
	}
}
