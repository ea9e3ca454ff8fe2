package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// Config describes the implementation under test.
type Config struct {
	// Location returns the location of an empty store that only this test uses, in the form that Open takes.
	Location func(t *testing.T) string
	// Open opens a store in this process. Child processes use the function that was passed to Main.
	Open func(ctx context.Context, location string) (store.Store, error)
	// File returns the path of the file that has the object or record at the given place (see [store.Store].ObjectPlace); nil if the place
	// is that path.
	File func(place string) string
	// LargeBytes is the size of an object that the implementation does not write in one request.
	LargeBytes int64
}

// suite is a Config with its defaults.
type suite struct{ Config }

// Run runs every test of the suite.
func Run(t *testing.T, cfg Config) {
	if cfg.File == nil {
		cfg.File = func(place string) string { return place }
	}
	s := suite{cfg}
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"ObjectsReadAsPut", s.objectsReadAsPut},
		{"RangesReadAsAsked", s.rangesReadAsAsked},
		{"ObjectIsNotPutTwice", s.objectIsNotPutTwice},
		{"DamagedObjectIsRepaired", s.damagedObjectIsRepaired},
		{"FailedRepairChangesNothing", s.failedRepairChangesNothing},
		{"WrongContentLeavesNothing", s.wrongContentLeavesNothing},
		{"FailingSourceLeavesNothing", s.failingSourceLeavesNothing},
		{"CancelledUploadLeavesNothing", s.cancelledUploadLeavesNothing},
		{"ConcurrentUploadsOfOneObject", s.concurrentUploadsOfOneObject},
		{"OpenReadersOutliveTheStore", s.openReadersOutliveTheStore},
		{"EmptyStore", s.emptyStore},
		{"VersionsReadAsPut", s.versionsReadAsPut},
		{"VersionsAreListedNewestFirst", s.versionsAreListedNewestFirst},
		{"VersionsNeitherRepeatNorSkip", s.versionsNeitherRepeatNorSkip},
		{"BadNamesAndRecordsAreRefused", s.badNamesAndRecordsAreRefused},
		{"AnotherHandlesCommitsAreSeen", s.anotherHandlesCommitsAreSeen},
		{"DatasetsAreApart", s.datasetsAreApart},
		{"StoreHasOneID", s.storeHasOneID},
		{"ReturnedRecordsAreTheCallers", s.returnedRecordsAreTheCallers},
		{"SnapshotRecordsReadAsPut", s.snapshotRecordsReadAsPut},
		{"ClaimsReadAsPut", s.claimsReadAsPut},
		{"EntriesReadAsPut", s.entriesReadAsPut},
		{"EntriesNeitherRepeatNorSkip", s.entriesNeitherRepeatNorSkip},
		{"AJournalIsNoDataset", s.aJournalIsNoDataset},
		{"ADamagedEntryHidesNoOther", s.aDamagedEntryHidesNoOther},
		{"OldStoresHaveNoJournal", s.oldStoresHaveNoJournal},
		{"OneGoroutineWinsEachEntry", s.oneGoroutineWinsEachEntry},
		{"OneProcessWinsEachEntry", s.oneProcessWinsEachEntry},
		{"KilledWritersLeaveAWholeJournal", s.killedWritersLeaveAWholeJournal},
		{"SnapshotRecordIsRepaired", s.snapshotRecordIsRepaired},
		{"BadSnapshotRecordsAreRefused", s.badSnapshotRecordsAreRefused},
		{"OneOfManySnapshotRecordsWins", s.oneOfManySnapshotRecordsWins},
		{"OneGoroutineWinsEachVersion", s.oneGoroutineWinsEachVersion},
		{"OneProcessWinsEachVersion", s.oneProcessWinsEachVersion},
		{"KilledWritersLeaveNothingWrong", s.killedWritersLeaveNothingWrong},
		{"ObjectsAreListedAndRemoved", s.objectsAreListedAndRemoved},
		{"VersionTimesAreTheStores", s.versionTimesAreTheStores},
		{"NotesReadAsPut", s.notesReadAsPut},
		{"UploadKilledHalfWay", s.uploadKilledHalfWay},
		{"EndedContextEndsACall", s.endedContextEndsACall},
	} {
		t.Run(c.name, c.test)
	}
}

// fresh opens an empty store.
func (s suite) fresh(t *testing.T) store.Store {
	t.Helper()
	return s.open(t, s.Location(t))
}

func (s suite) open(t *testing.T, location string) store.Store {
	t.Helper()
	st, err := s.Open(t.Context(), location)
	if err != nil {
		t.Fatalf("open %s: %v", location, err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return st
}

// content returns n random bytes and their digest. Equal arguments return equal bytes.
func content(n int64, seed byte) ([]byte, dataset.Digest) {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b, sha256.Sum256(b)
}

func put(t *testing.T, st store.Store, b []byte, d dataset.Digest) {
	t.Helper()
	if err := st.PutObject(t.Context(), d, int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatalf("put an object of %d bytes: %v", len(b), err)
	}
}

func read(t *testing.T, st store.Store, d dataset.Digest, offset, length int64) []byte {
	t.Helper()
	r, err := st.OpenObject(t.Context(), d, offset, length)
	if err != nil {
		t.Fatalf("open object from %d, %d bytes: %v", offset, length, err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read object from %d, %d bytes: %v", offset, length, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// absent fails the test if a call finds the object.
func absent(t *testing.T, st store.Store, d dataset.Digest) {
	t.Helper()
	_, err := st.StatObject(t.Context(), d)
	wantErr(t, "StatObject", err, store.ErrNotFound)
	r, err := st.OpenObject(t.Context(), d, 0, -1)
	wantErr(t, "OpenObject", err, store.ErrNotFound)
	if err == nil {
		_ = r.Close()
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want one that wraps %v", what, got, want)
	}
}

// record returns a valid version record, whose objects do not exist.
func record(name string, version uint64, source string) dataset.VersionRecord {
	return dataset.VersionRecord{
		Dataset:      name,
		Version:      version,
		Seed:         0xfedc_ba98_7654_3210,
		State:        dataset.Checksum{Records: version, Hi: 1<<63 + version, Lo: 7},
		PayloadBytes: 1<<60 + version,
		Snapshot:     dataset.Object{Version: version, Digest: sha256.Sum256([]byte(source)), Bytes: 1 << 40},
		Changes:      dataset.Changes{Added: 3, Changed: 2, Removed: 1},
		Created:      time.Now(),
		Source:       source,
		Labels:       map[string]string{"commit": "0123", "näme <&>": "wert \" \\ \u2028"},
	}
}

// commit puts the record as a version.
func commit(t *testing.T, st store.Store, rec dataset.VersionRecord) {
	t.Helper()
	if err := st.PutVersion(t.Context(), rec); err != nil {
		t.Fatalf("commit %s: %v", rec.ID(), err)
	}
}

// same fails the test unless the two records have the same encoding.
func same(t *testing.T, got, want dataset.VersionRecord) {
	t.Helper()
	g, err := got.Encode()
	if err != nil {
		t.Fatalf("encode %s as read: %v", want.ID(), err)
	}
	w, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) || !got.Created.Equal(want.Created) {
		t.Errorf("%s reads as\n%s\nwant\n%s", want.ID(), g, w)
	}
}
