package dataset_test

import (
	"testing"

	"freshet.dev/pkg/dataset"
	"github.com/google/go-cmp/cmp"
)

// chained returns a record of version 9 with deltas from version 5 on, and a snapshot of the given version.
func chained(snapshot uint64) dataset.VersionRecord {
	r := dataset.VersionRecord{Version: 9, Snapshot: dataset.Object{Version: snapshot, Bytes: 100}}
	for version := uint64(6); version <= 9; version++ {
		r.Deltas = append(r.Deltas, dataset.Object{Version: version, Bytes: 1})
	}
	return r
}

func versions(objects []dataset.Object) (out []uint64) {
	for _, o := range objects {
		out = append(out, o.Version)
	}
	return out
}

func TestChain(t *testing.T) {
	for snapshot, want := range map[uint64][]uint64{5: {5, 6, 7, 8, 9}, 7: {7, 8, 9}, 9: {9}} {
		r := chained(snapshot)
		chain := r.Chain()
		if diff := cmp.Diff(want, versions(chain)); diff != "" {
			t.Errorf("snapshot of version %d: %s", snapshot, diff)
		}
		if chain[0] != r.Snapshot {
			t.Errorf("the chain begins with %v", chain[0])
		}
		chain[len(chain)-1].Bytes = 77
		if r.Deltas[3].Bytes != 1 {
			t.Error("the chain aliases the record")
		}
	}
}

func TestDeltasFrom(t *testing.T) {
	r := chained(7)
	for from, want := range map[uint64][]uint64{0: nil, 4: nil, 5: {6, 7, 8, 9}, 7: {8, 9}, 8: {9}, 9: nil, 10: nil, 1<<64 - 1: nil} {
		if diff := cmp.Diff(want, versions(r.DeltasFrom(from))); diff != "" {
			t.Errorf("from version %d: %s", from, diff)
		}
	}
}

func TestOwnDelta(t *testing.T) {
	if o, ok := chained(9).OwnDelta(); !ok || o.Version != 9 {
		t.Errorf("%v, %t", o, ok)
	}
	if o, ok := (dataset.VersionRecord{Version: 1}).OwnDelta(); ok {
		t.Errorf("a version without deltas has %v", o)
	}
}
