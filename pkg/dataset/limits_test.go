package dataset_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
)

// largest returns a version record that reaches every limit and has the longest JSON.
func largest() dataset.VersionRecord {
	id := dataset.VersionID([]byte(strings.Repeat("\xff", len(dataset.VersionID{}))))
	const version = 1 << 62
	r := dataset.VersionRecord{
		StoreID: dataset.NewStoreID(), Previous: id, Dataset: strings.Repeat("n", dataset.MaxNameBytes), Version: version,
		Seed: 1<<64 - 1, State: dataset.Checksum{Records: 1 << 62, Hi: 1<<64 - 1, Lo: 1<<64 - 1}, PayloadBytes: 1 << 63,
		Snapshot: dataset.Object{Version: version - dataset.MaxDeltas, Digest: dataset.Digest{1}, Bytes: 1 << 62},
		Changes:  dataset.Changes{Added: 1 << 62, Changed: 1 << 62, Removed: 1 << 62},
		Created:  time.Date(2026, 11, 12, 13, 14, 15, 123456789, time.UTC), Source: strings.Repeat("\x01", dataset.MaxSourceBytes),
		Labels: map[string]string{}, ExpectEvery: dataset.MaxExpectEvery,
	}
	for i := range dataset.MaxLabels {
		name := fmt.Sprintf("%02d", i)
		r.Labels[name+strings.Repeat("\x01", dataset.MaxLabelBytes-len(name))] = strings.Repeat("\x01", dataset.MaxLabelBytes)
	}
	for i := range dataset.MaxDeltas {
		r.Deltas = append(r.Deltas, dataset.Object{
			Version: version - dataset.MaxDeltas + 1 + uint64(i), Digest: dataset.Digest{2}, Bytes: 1 << 62, From: id,
		})
	}
	return r
}

// TestLargestVersionRecord encodes the largest record and its event, which must be below the 1 MiB that NATS accepts by default.
func TestLargestVersionRecord(t *testing.T) {
	r := largest()
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > dataset.MaxRecordBytes/2 {
		t.Errorf("the record has %d bytes", len(text))
	}
	back, err := dataset.DecodeVersionRecord(text)
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%v; the record is another: %t", err, !reflect.DeepEqual(back, r))
	}
	event, err := dataset.EncodeEvent(r)
	if err != nil || len(event) > 1<<20 {
		t.Errorf("the event has %d bytes, %v", len(event), err)
	}
	if _, err := dataset.DecodeEvent(event); err != nil {
		t.Error(err)
	}
}

// TestVersionRecordsAboveALimit exceeds each limit by one.
func TestVersionRecordsAboveALimit(t *testing.T) {
	for want, change := range map[string]func(*dataset.VersionRecord){
		"the most is 64": func(r *dataset.VersionRecord) { r.Dataset += "n" },
		"257 bytes":      func(r *dataset.VersionRecord) { r.Source += "s" },
		"33 labels":      func(r *dataset.VersionRecord) { r.Labels["one more"] = "" },
		"over 256 bytes": func(r *dataset.VersionRecord) {
			delete(r.Labels, first(r.Labels))
			r.Labels[strings.Repeat("l", 257)] = ""
		},
		"is empty or over": func(r *dataset.VersionRecord) { r.Labels[first(r.Labels)] += "v" },
		"expected within":  func(r *dataset.VersionRecord) { r.ExpectEvery++ },
		"1025 deltas":      func(r *dataset.VersionRecord) { r.Deltas = append(r.Deltas, r.Deltas[0]) },
		"bytes as JSON": func(r *dataset.VersionRecord) {
			r.Extra = map[string]json.RawMessage{"later": json.RawMessage(`"` + strings.Repeat("x", dataset.MaxRecordBytes) + `"`)}
		},
	} {
		r := largest()
		change(&r)
		if _, err := r.Encode(); !errors.Is(err, dataset.ErrVersionRecord) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.300v; want %q", err, want)
		}
	}
}

func first(labels map[string]string) string {
	for name := range labels {
		return name
	}
	return ""
}
