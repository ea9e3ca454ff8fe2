package bounds_test

import (
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/bounds"
	"freshet.dev/pkg/subscribe/internal/memory"
	"freshet.dev/pkg/table"
)

// record returns the record of a version with a payload of 100 bytes for each record.
func record(name string, version, records uint64) dataset.VersionRecord {
	return dataset.VersionRecord{
		StoreID: dataset.StoreID{1}, Dataset: name, Version: version, State: dataset.Checksum{Records: records}, PayloadBytes: 100 * records,
		Snapshot: dataset.Object{Version: version, Bytes: int64(25 * records)},
	}
}

// refused fails unless err is the refusal by the bound.
func refused(t *testing.T, err error, bound string, permanent, repeated bool, texts ...string) {
	t.Helper()
	var r *bounds.Refusal
	if !errors.As(err, &r) || !errors.Is(err, bounds.ErrRefused) {
		t.Fatalf("%v; want a refusal", err)
	}
	if r.Bound != bound || r.Permanent() != permanent || r.Repeated != repeated {
		t.Errorf("%+v; want %s, permanent %v, repeated %v", r, bound, permanent, repeated)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v lacks %q", err, text)
		}
	}
}

func unknownMemory() (memory.Room, error) { return memory.Room{}, memory.ErrUnknown }

func TestNoBounds(t *testing.T) {
	var none *bounds.Bounds
	for _, b := range []*bounds.Bounds{none, bounds.New(bounds.Config{}, unknownMemory), bounds.New(bounds.Config{MinMemoryLeft: 1 << 60}, unknownMemory)} {
		full, err := b.Full(record("a", 1, 1<<40))
		deltas, err2 := b.Deltas(record("a", 2, 1<<40), []dataset.Object{{Bytes: 1 << 40}})
		if err != nil || err2 != nil || b.Loaded(record("a", 2, 1), 1<<60) != nil {
			t.Errorf("%v, %v", err, err2)
		}
		full.Release()
		deltas.Release()
		b.Served("a", 1<<60)
	}
}

func TestBoundsOfADataset(t *testing.T) {
	estimate := table.EstimateBytes(1000, 100_000)
	b := bounds.New(bounds.Config{MaxRecords: 1000, MaxBytes: estimate}, unknownMemory)
	_, err := b.Full(record("a", 1, 1001))
	refused(t, err, bounds.MaxRecords, true, false, "version a/1 has 1001 records, the most is 1000 (FRESHET_MAX_RECORDS)")
	_, err = b.Deltas(record("a", 1, 1001), nil)
	refused(t, err, bounds.MaxRecords, true, true)
	_, err = b.Full(record("a", 2, 1001))
	refused(t, err, bounds.MaxRecords, true, false)
	large := record("a", 3, 1000)
	large.PayloadBytes *= 2
	_, err = b.Deltas(large, nil)
	refused(t, err, bounds.MaxBytes, true, false, "version a/3 takes about ", "the most for a dataset is ", "FRESHET_MAX_BYTES")
	fits := record("a", 4, 1000)
	admitted, err := b.Full(fits)
	if err != nil {
		t.Fatal(err)
	}
	// The table is larger than its estimate: that is known from then on.
	refused(t, b.Loaded(fits, estimate+1), bounds.MaxBytes, true, false, "version a/4 takes ")
	admitted.Release()
	_, err = b.Full(fits)
	refused(t, err, bounds.MaxBytes, true, true)
	if _, err = b.Full(record("a", 5, 1000)); err != nil {
		t.Errorf("another version: %v", err)
	}
}

// Tables that are served and those that are being loaded count for the total.
func TestTotal(t *testing.T) {
	estimate := table.EstimateBytes(1000, 100_000)
	b := bounds.New(bounds.Config{MaxTotalBytes: 2*estimate + estimate/2}, unknownMemory)
	first, err := b.Full(record("a", 1, 1000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Full(record("b", 1, 1000)); err != nil {
		t.Fatal(err)
	}
	_, err = b.Full(record("c", 1, 1000))
	refused(t, err, bounds.MaxTotalBytes, false, false, "the other datasets take ", "FRESHET_MAX_TOTAL_BYTES")
	first.Release() // the load failed
	if _, err = b.Full(record("c", 1, 1000)); err != nil {
		t.Error(err)
	}
	b.Served("c", estimate)
	_, err = b.Full(record("a", 1, 1000))
	refused(t, err, bounds.MaxTotalBytes, false, false)
	b.Served("c", estimate/4)
	if _, err = b.Full(record("a", 1, 1000)); err != nil {
		t.Error(err)
	}
}

func TestMemoryLeft(t *testing.T) {
	const records = 1_000_000
	estimate := table.EstimateBytes(records, 100*records)
	room := estimate * 3 / 2
	b := bounds.New(bounds.Config{MinMemoryLeft: estimate / 4}, func() (memory.Room, error) { return memory.Room{Bytes: room, Limit: "a test"}, nil })
	first, err := b.Full(record("a", 1, records))
	if err != nil {
		t.Fatal(err)
	}
	// Two loads at once: the memory that the first will take is reserved.
	_, err = b.Full(record("b", 1, records))
	refused(t, err, bounds.MinMemoryLeft, false, false, "a test has ", " bytes left, of which other loads take ", "FRESHET_MIN_MEMORY_LEFT")
	first.Release()
	second, err := b.Full(record("b", 1, records))
	if err != nil {
		t.Fatal(err)
	}
	b.Served("b", estimate)
	room -= estimate
	_, err = b.Full(record("b", 2, records))
	refused(t, err, bounds.MinMemoryLeft, false, false)
	// A delta takes what it changes.
	small := []dataset.Object{{Bytes: records / 100 * 25}}
	third, err := b.Deltas(record("b", 2, records), small)
	if err != nil {
		t.Fatal(err)
	}
	second.Release() // late: the memory is reserved for the delta now
	room = estimate/4 + 12<<20
	_, err = b.Deltas(record("a", 2, 1), nil)
	refused(t, err, bounds.MinMemoryLeft, false, false)
	third.Release()
	third.Release()
	if _, err = b.Deltas(record("a", 2, 1), nil); err != nil {
		t.Error(err)
	}
	_, err = b.Deltas(record("b", 3, records), []dataset.Object{{Bytes: records * 25}})
	refused(t, err, bounds.MinMemoryLeft, false, false)
}
