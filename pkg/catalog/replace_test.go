package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
)

// The newest version changes before Replace. A version of another store is a conflict, and the error names both versions.
func TestReplaceFindsAnotherStoresVersion(t *testing.T) {
	storeA, storeB := dataset.StoreID{1}, dataset.StoreID{2}
	of := func(version uint64, store dataset.StoreID) dataset.VersionRecord {
		rec := record(version, 0)
		rec.StoreID = store
		return rec
	}
	over, ours := of(7, storeB), of(5, storeA)
	for name, tc := range map[string]struct {
		newest          dataset.VersionRecord
		moved, conflict bool
	}{
		"the version to replace":    {newest: over, moved: true},
		"a later one of the store":  {newest: of(6, storeA)},
		"the version":               {newest: ours},
		"one without a store":       {newest: of(6, dataset.StoreID{})},
		"another store's, above":    {newest: of(8, storeB), conflict: true},
		"another store's, the same": {newest: of(5, storeB), conflict: true},
		"another store's, below":    {newest: of(4, storeB), moved: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, _, _, c := open(t)
			if _, err := c.Advance(ctx, tc.newest); err != nil {
				t.Fatal(err)
			}
			moved, err := c.Replace(ctx, ours, over.Ref())
			if moved != tc.moved || errors.Is(err, catalog.ErrConflict) != tc.conflict || err != nil && !tc.conflict {
				t.Fatalf("moved %v, %v", moved, err)
			}
			if !tc.conflict {
				return
			}
			for _, want := range []string{
				tc.newest.Ref().String() + " of store " + storeB.String(), ours.Ref().String() + " of store " + storeA.String(), "FRESHET_NAMESPACE",
			} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want %q in it", err, want)
				}
			}
		})
	}
}
