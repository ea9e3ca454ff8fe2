package dataset_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/google/go-cmp/cmp"
)

// identified returns a record of this release.
func identified() dataset.VersionRecord {
	r := record()
	r.StoreID, r.Previous = dataset.StoreID{1, 2, 3}, dataset.VersionID{4, 5, 6}
	r.Deltas[0].From = r.Previous
	return r
}

// The id of a record is part of the format: instances and publishers of different releases must compute the same id.
func TestVersionIDGolden(t *testing.T) {
	if got := identified().VersionID().String(); got != "0c7f179921663403715422c9bd9dad695a81b046" {
		t.Errorf("the id is %s", got)
	}
	old := record()
	sum := sha256.Sum256(must(old.Encode()))
	if got := old.VersionID().String(); got != hex.EncodeToString(sum[:20]) {
		t.Errorf("the id of a record of an earlier release is %s, want the hash of its bytes", got)
	}
	if bytes.Contains(must(old.Encode()), []byte(`"id"`)) {
		t.Error("a record of an earlier release is written with an id, which changes its bytes")
	}
}

// Every member of a record is part of its id.
func TestVersionIDCoversEverything(t *testing.T) {
	is := identified().VersionID()
	for name, change := range map[string]func(*dataset.VersionRecord){
		"store":    func(r *dataset.VersionRecord) { r.StoreID[0]++ },
		"no store": func(r *dataset.VersionRecord) { r.StoreID = dataset.StoreID{} },
		"previous": func(r *dataset.VersionRecord) { r.Previous[0]++ },
		"dataset":  func(r *dataset.VersionRecord) { r.Dataset = "prices" },
		"version":  func(r *dataset.VersionRecord) { r.Version++ },
		"seed":     func(r *dataset.VersionRecord) { r.Seed++ },
		"state":    func(r *dataset.VersionRecord) { r.State.Lo++ },
		"payload":  func(r *dataset.VersionRecord) { r.PayloadBytes++ },
		"snapshot": func(r *dataset.VersionRecord) { r.Snapshot.Digest[0]++ },
		"delta":    func(r *dataset.VersionRecord) { r.Deltas[0].Digest[0]++ },
		"from":     func(r *dataset.VersionRecord) { r.Deltas[0].From[0]++ },
		"changes":  func(r *dataset.VersionRecord) { r.Changes.Added++ },
		"created":  func(r *dataset.VersionRecord) { r.Created = r.Created.Add(time.Nanosecond) },
		"source":   func(r *dataset.VersionRecord) { r.Source += "x" },
		"labels":   func(r *dataset.VersionRecord) { r.Labels["x"] = "" },
		"promise":  func(r *dataset.VersionRecord) { r.ExpectEvery = time.Hour },
		"extra":    func(r *dataset.VersionRecord) { r.Extra = map[string]json.RawMessage{"later": []byte("1")} },
	} {
		r := identified()
		change(&r)
		if r.VersionID() == is {
			t.Errorf("%s: the id is the same", name)
		}
	}
}

// A record keeps its id when this release decodes and encodes it, also with members of a later release. A record with any
// byte changed is refused.
func TestRecordProvesItself(t *testing.T) {
	r := identified()
	r.Extra = map[string]json.RawMessage{"later_member": []byte(`{"a":[1,2.50]}`)}
	b := must(r.Encode())
	if !strings.HasPrefix(string(b), `{"id":"`+r.VersionID().String()+`","store_id":"01020300`) {
		t.Errorf("it is written %s", b)
	}
	got, err := dataset.DecodeVersionRecord(b)
	if diff := cmp.Diff(r, got); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	again := must(got.Encode())
	if !bytes.Equal(again, b) {
		t.Errorf("it is written again as\n%s\nand was\n%s", again, b)
	}
	through := must(dataset.DecodeEvent(must(dataset.EncodeEvent(r))))
	if through.VersionID() != r.VersionID() {
		t.Errorf("an event has the id %s, want %s", through.VersionID(), r.VersionID())
	}
	for _, change := range [][2]string{
		{`"version":3,"seed"`, `"version":4,"seed"`},
		{`"added":430`, `"added":431`},
		{`"source":"nightly`, `"source":"Nightly`},
		{`"later_member":{"a":[1,2.50]}`, `"later_member":{"a":[1,2.51]}`},
		{`"id":"`, `"Id":"`},
	} {
		bad := strings.Replace(string(b), change[0], change[1], 1)
		if bad == string(b) {
			t.Fatalf("%q is not in %s", change[0], b)
		}
		if _, err := dataset.DecodeVersionRecord([]byte(bad)); !errors.Is(err, dataset.ErrVersionRecord) {
			t.Errorf("%q: error is %v", change[1], err)
		}
	}
}

func TestEventNamesStoreAndID(t *testing.T) {
	r := identified()
	b := string(must(dataset.EncodeEvent(r)))
	for _, want := range []string{`"source":"/freshet/store/` + r.StoreID.String(), `"versionid":"` + r.VersionID().String(), `"id":"cities/3"`} {
		if !strings.Contains(b, want) {
			t.Errorf("%s is not in %s", want, b)
		}
		if _, err := dataset.DecodeEvent([]byte(strings.Replace(b, want, want[:len(want)-1]+"f", 1))); !errors.Is(err, dataset.ErrEvent) {
			t.Errorf("without %s: error is %v", want, err)
		}
	}
}

func TestIDsAsText(t *testing.T) {
	var s dataset.StoreID
	var v dataset.VersionID
	for _, bad := range []string{"0", strings.Repeat("0", 31), strings.Repeat("A", 32), strings.Repeat("g", 40), strings.Repeat("0", 41)} {
		if err := s.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was accepted as a store id", bad)
		}
		if err := v.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was accepted as a version id", bad)
		}
	}
	id := dataset.NewStoreID()
	if err := s.UnmarshalText([]byte(id.String())); err != nil || s != id || id == dataset.NewStoreID() {
		t.Errorf("%s reads as %s: %v", id, s, err)
	}
	ref := identified().Ref()
	if text := ref.String(); !strings.HasPrefix(text, "3 (") || dataset.Ref(dataset.Ref{Version: 3}).String() != "3" {
		t.Error(text)
	}
}

// Invariant: a flipped bit in a record is either detected or does not change the decoded record.
func TestFlippedBitInARecordIsSeen(t *testing.T) {
	r := identified()
	b := must(r.Encode())
	for i := range 8 * len(b) {
		flipped := bytes.Clone(b)
		flipped[i/8] ^= 1 << (i % 8)
		got, err := dataset.DecodeVersionRecord(flipped)
		if diff := cmp.Diff(r, got); err == nil && diff != "" {
			t.Fatalf("bit %d of byte %d: the record %s is accepted: %s", i%8, i/8, flipped, diff)
		}
	}
}
