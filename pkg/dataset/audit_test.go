package dataset

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A release that does not know a record's by, reason and restores keeps them as they are, and computes the same id.
func TestAuditMembersAreExtraToEarlierReleases(t *testing.T) {
	rec := VersionRecord{
		StoreID: StoreID{1}, Previous: VersionID{2}, Dataset: "prices", Version: 3, State: Checksum{Records: 1}, PayloadBytes: 2,
		Snapshot: Object{Version: 3, Digest: Digest{3}, Bytes: 9}, Created: time.Unix(1, 0).UTC(), Source: "test",
		By: "ann@host", Reason: `a <bad> & "worse" é publish`, Restores: Ref{Version: 1, ID: VersionID{4}},
	}
	text, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	known := knownMembers
	knownMembers = slices.DeleteFunc(slices.Clone(known), func(name string) bool { return name == "by" || name == "reason" || name == "restores" })
	defer func() { knownMembers = known }()
	var earlier VersionRecord
	if err := earlier.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	earlier.By, earlier.Reason, earlier.Restores = "", "", Ref{} // that release has no such fields
	again, err := earlier.Encode()
	if err != nil || earlier.VersionID() != rec.VersionID() || len(earlier.Extra) != 3 {
		t.Fatalf("the id is %s, want %s; the record is %s, from %s (%v)", earlier.VersionID(), rec.VersionID(), again, text, err)
	}
	knownMembers = known
	if back, err := DecodeVersionRecord(again); err != nil || back.By != rec.By || back.Reason != rec.Reason || back.Restores != rec.Restores {
		t.Errorf("it comes back as %+v (%v)", back, err)
	}
}

func TestAuditMembersAreChecked(t *testing.T) {
	for want, rec := range map[string]VersionRecord{
		"by has 257 bytes, the most is 256":        {By: strings.Repeat("a", 257)},
		"reason has 1025 bytes, the most is 1024":  {Reason: strings.Repeat("a", 1025)},
		"reason \"a\\nb\" has a control character": {Reason: "a\nb"},
		"by \"\\xff\" is not UTF-8":                {By: "\xff"},
		"version 2 restores the later version 2":   {Restores: Ref{Version: 2}},
	} {
		rec.Dataset, rec.Version, rec.Created, rec.Snapshot = "prices", 2, time.Now(), Object{Version: 2, Digest: Digest{1}, Bytes: 1}
		if err := rec.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A release that does not know a record's deleted and dropped keeps them as they are, and computes the same id.
func TestDeletedMembersAreExtraToEarlierReleases(t *testing.T) {
	rec := VersionRecord{
		StoreID: StoreID{1}, Previous: VersionID{2}, Dataset: "prices", Version: 3, Snapshot: Object{Version: 3, Digest: Digest{3}, Bytes: 9},
		Created: time.Unix(1, 0).UTC(), Source: "test", By: "ann@host", Reason: "mistyped", Deleted: true, Dropped: true,
	}
	text, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	known := knownMembers
	knownMembers = slices.DeleteFunc(slices.Clone(known), func(name string) bool { return name == "deleted" || name == "dropped" })
	defer func() { knownMembers = known }()
	var earlier VersionRecord
	if err := earlier.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	earlier.Deleted, earlier.Dropped = false, false // that release has no such fields
	if again, err := earlier.Encode(); err != nil || earlier.VersionID() != rec.VersionID() || len(earlier.Extra) != 2 {
		t.Errorf("the id is %s, want %s; the record is %s, from %s (%v)", earlier.VersionID(), rec.VersionID(), again, text, err)
	}
	if got, want := rec.DeletedText(), "deleted by ann@host, because mistyped (1970-01-01T00:00:01Z)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDeletedMembersAreChecked(t *testing.T) {
	delta := Object{Version: 2, Digest: Digest{1}, Bytes: 1}
	for want, rec := range map[string]VersionRecord{
		"drops the dataset without deleting it": {Dropped: true},
		"deletes the dataset and has records":   {Deleted: true, State: Checksum{Records: 1}},
		"deletes the dataset and has deltas":    {Deleted: true, Deltas: []Object{delta}},
	} {
		rec.Dataset, rec.Version, rec.Created, rec.Snapshot = "prices", 2, time.Now(), Object{Version: 2, Digest: Digest{1}, Bytes: 1}
		if err := rec.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
