package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// snapshotRecord returns a valid snapshot record, whose object does not exist.
func snapshotRecord(name string, version uint64) dataset.SnapshotRecord {
	return dataset.SnapshotRecord{
		Dataset: name, Object: dataset.Object{Version: version, Digest: dataset.Digest{1, byte(version)}, Bytes: 1 << 40},
		State: dataset.Checksum{Records: version, Hi: 1 << 63, Lo: 7}, Created: time.Now().UTC(),
	}
}

func (s suite) snapshotRecordsReadAsPut(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	_, err := st.NewestSnapshot(t.Context(), "prices", 0, 1<<62)
	wantErr(t, "NewestSnapshot of nothing", err, store.ErrNotFound)
	recs := map[uint64]dataset.SnapshotRecord{}
	for _, v := range []uint64{33, 1000, 66, 999_999} { // in any order, because two publishers may write them
		recs[v] = snapshotRecord("prices", v)
		if err := st.PutSnapshot(t.Context(), recs[v]); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "the same again", st.PutSnapshot(t.Context(), recs[66]), store.ErrExists)
	wantErr(t, "another of that version", st.PutSnapshot(t.Context(), snapshotRecord("prices", 66)), store.ErrExists)
	for _, handle := range []store.Store{st, s.open(t, location)} {
		for _, c := range []struct{ after, upTo, want uint64 }{
			{0, 1 << 62, 999_999},
			{0, 999_999, 999_999},
			{0, 999_998, 1000},
			{999_000, 999_999, 999_999},
			{999_000, 999_998, 0},
			{900, 1100, 1000},
			{0, 66, 66},
			{33, 66, 66},
			{66, 66, 0},
			{33, 65, 0},
			{0, 32, 0},
			{999_998, 1<<64 - 1, 999_999},
			{999_999, 1<<64 - 1, 0},
			{70, 60, 0},
			{0, 0, 0},
			{1<<64 - 1, 1<<64 - 1, 0},
		} {
			got, err := handle.NewestSnapshot(t.Context(), "prices", c.after, c.upTo)
			if c.want == 0 {
				wantErr(t, fmt.Sprintf("after %d up to %d", c.after, c.upTo), err, store.ErrNotFound)
				continue
			}
			if err != nil || got != recs[c.want] {
				t.Errorf("after %d up to %d: %+v, %v; want that of %d", c.after, c.upTo, got, err, c.want)
			}
		}
		_, err := handle.NewestSnapshot(t.Context(), "price", 0, 1<<62)
		wantErr(t, "another dataset", err, store.ErrNotFound)
	}
	// Snapshot records create neither versions nor datasets.
	_, err = st.Latest(t.Context(), "prices")
	wantErr(t, "Latest", err, store.ErrNotFound)
	if names, err := st.Datasets(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("Datasets: %v, %v", names, err)
	}
}

func (s suite) snapshotRecordIsRepaired(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	old, better := snapshotRecord("prices", 7), snapshotRecord("prices", 7)
	better.Object.Digest = dataset.Digest{9}
	if err := st.PutSnapshot(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	for range 2 { // over another record, and over the same
		if err := st.RepairSnapshot(t.Context(), better); err != nil {
			t.Fatal(err)
		}
		for _, handle := range []store.Store{st, s.open(t, location)} {
			if got, err := handle.NewestSnapshot(t.Context(), "prices", 0, 7); err != nil || got.Object != better.Object {
				t.Errorf("after the repair the record is %+v, %v; want %+v", got, err, better)
			}
		}
	}
	lone := snapshotRecord("prices", 8)
	if err := st.RepairSnapshot(t.Context(), lone); err != nil {
		t.Fatal(err)
	}
	if got, err := st.NewestSnapshot(t.Context(), "prices", 0, 9); err != nil || got.Object != lone.Object {
		t.Errorf("a repair without an existing record stored %+v, %v", got, err)
	}
	if err := st.RepairSnapshot(t.Context(), dataset.SnapshotRecord{Dataset: "prices"}); err == nil {
		t.Error("a record that does not pass its check was stored")
	}
}

func (s suite) badSnapshotRecordsAreRefused(t *testing.T) {
	st := s.fresh(t)
	for _, name := range []string{"", "..", "../prices", "a/b", "Prices"} {
		_, err := st.NewestSnapshot(t.Context(), name, 0, 1)
		wantErr(t, fmt.Sprintf("NewestSnapshot of %q", name), err, dataset.ErrName)
		wantErr(t, fmt.Sprintf("PutSnapshot of %q", name), st.PutSnapshot(t.Context(), snapshotRecord(name, 1)), dataset.ErrSnapshotRecord)
	}
	wantErr(t, "PutSnapshot of version 0", st.PutSnapshot(t.Context(), snapshotRecord("prices", 0)), dataset.ErrSnapshotRecord)
}

func (s suite) oneOfManySnapshotRecordsWins(t *testing.T) {
	location := s.Location(t)
	const records = 8
	var wins [records + 1]atomic.Int32
	racers := pool.New().WithErrors()
	for range 4 {
		st := s.open(t, location)
		racers.Go(func() error {
			for v := uint64(1); v <= records; v++ {
				switch err := st.PutSnapshot(t.Context(), snapshotRecord("prices", v)); {
				case err == nil:
					wins[v].Add(1)
				case !errors.Is(err, store.ErrExists):
					return err
				}
			}
			return nil
		})
	}
	if err := racers.Wait(); err != nil {
		t.Fatal(err)
	}
	for v := 1; v <= records; v++ {
		if n := wins[v].Load(); n != 1 {
			t.Errorf("%d calls wrote the record of version %d", n, v)
		}
	}
}
