//go:build !race

package history_test

import (
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
)

// The history of a record over 100 versions reads the footer and at most one block of each delta, and of the one snapshot at its
// beginning: less than 1 % of 100 snapshots.
func TestHistoryReadsOneBlockOfEachDelta(t *testing.T) {
	rows := 1_000_000
	if testing.Short() {
		rows /= 10
	}
	const versions = 100
	r := newRig(t, publish.MaxMaxDeltas)
	records := []dataset.VersionRecord{r.publishRows(t, rows)}
	for v := 2; v <= versions; v++ {
		every := rows / 100 // a patch of 100 changes
		if v%10 == 0 {
			every = 50 // one of 2 %, whose delta has several blocks
		}
		records = append(records, r.patchRows(t, rows, v%every, every, v))
	}
	most := map[dataset.Digest]int64{} // that may be read of an object
	for _, rec := range records {
		o, ok := rec.OwnDelta()
		if !ok {
			o = rec.Snapshot
		}
		index, err := snapshot.ReadIndex(file{r, o}, o.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		footer := int64(32 + 8 + 32*index.Blocks() + 80 + 24)
		largest := o.Bytes
		if index.Blocks() > 1 {
			largest = o.Bytes / int64(index.Blocks()) * 3 / 2 // blocks are about equally large
		}
		most[o.Digest] = max(8<<10, largest+footer+(2<<10)+o.Bytes/128) // a small object whole; the footer is found by a read of the end
	}
	var events int
	reads := r.store.count(func() {
		timeline, err := r.History(t.Context(), name, row(60, 0).Key, 0, versions)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range timeline.Events(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			events++
		}
	})
	snapshots := versions * records[0].Snapshot.Bytes
	t.Logf("%d versions of %d records: %d events, %d bytes read of %d objects; the snapshots would have %d bytes: %.3f %%",
		versions, rows, events, sum(reads), len(reads), snapshots, 100*float64(sum(reads))/float64(snapshots))
	if sum(reads)*100 >= snapshots {
		t.Errorf("%d bytes are 1 %% of %d or more", sum(reads), snapshots)
	}
	if len(reads) != versions || events < 2 {
		t.Errorf("%d objects were read for %d events", len(reads), events)
	}
	for digest, got := range reads {
		var bytes int64
		for _, n := range got {
			bytes += n
		}
		if bytes > most[digest] || len(got) > 4 {
			t.Errorf("%d bytes of object %s were read in %d reads, want at most %d", bytes, digest, len(got), most[digest])
		}
	}
}
