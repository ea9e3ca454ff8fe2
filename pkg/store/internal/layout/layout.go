// Package layout has the names of the files and keys in a store, which are the same in a folder and in a bucket.
package layout

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
)

const (
	// ObjectsFolder has the objects.
	ObjectsFolder = "objects"
	// VersionsFolder has a folder of version records for each dataset.
	VersionsFolder = "versions"
	// JournalFolder has a folder of journal entries for each dataset.
	JournalFolder = "journal"
	// NotesFolder has the notes of garbage collections.
	NotesFolder = "gc"
	// TmpFolder has unfinished uploads.
	TmpFolder = "tmp"
	// IDFile has the store id.
	IDFile = "store.json"

	// MaxVersion is the highest version that a record may have. It leaves space to add two versions without overflow.
	MaxVersion = 1 << 62

	// StaleAfter is the age from which an unfinished upload counts as dead. Uploads take minutes. An upload that stalls for a day and
	// then resumes fails, with no other effect.
	StaleAfter = 24 * time.Hour

	snapshotsFolder = "snapshots"
	claimsFolder    = "claims"

	recordSuffix = ".json"
	// recordDigits is the length of the largest uint64, so that names sort as versions do.
	recordDigits = 20
)

// Object returns the name of an object.
func Object(d dataset.Digest) string {
	hex := d.String()
	return ObjectsFolder + "/" + hex[:2] + "/" + hex
}

// Versions returns the name of the folder with the version records of a dataset.
func Versions(name string) string { return VersionsFolder + "/" + name }

// Version returns the name of a version record.
func Version(name string, version uint64) string { return Versions(name) + "/" + RecordFile(version) }

// Snapshots returns the name of the folder with the snapshot records of a dataset.
func Snapshots(name string) string { return snapshotsFolder + "/" + name }

// Snapshot returns the name of a version's snapshot record.
func Snapshot(name string, version uint64) string { return Snapshots(name) + "/" + RecordFile(version) }

// Claims returns the name of the folder with the claims of a dataset.
func Claims(name string) string { return claimsFolder + "/" + name }

// Claim returns the name of a version's claim.
func Claim(name string, version uint64) string { return Claims(name) + "/" + RecordFile(version) }

// Entries returns the name of the folder with the journal of a dataset.
func Entries(name string) string { return JournalFolder + "/" + name }

// Entry returns the name of a journal entry.
func Entry(name string, number uint64) string { return Entries(name) + "/" + RecordFile(number) }

// Note returns the name of a note.
func Note(name string) string { return NotesFolder + "/" + name + recordSuffix }

var noteName = regexp.MustCompile(`^[a-z0-9-]{1,100}$`)

// CheckNote returns an error if name cannot be that of a note.
func CheckNote(name string) error {
	if !noteName.MatchString(name) {
		return fmt.Errorf("%.120q is not the name of a note: use 1 to 100 of a-z, 0-9 and -", name)
	}
	return nil
}

// ParseNoteFile returns the name of the note in that file of its folder; ok is false for any other file.
func ParseNoteFile(file string) (name string, ok bool) {
	name, ok = strings.CutSuffix(file, recordSuffix)
	return name, ok && noteName.MatchString(name)
}

// ParseObjectFile returns the digest of the object in that file of its folder; ok is false for any other file.
func ParseObjectFile(file string) (d dataset.Digest, ok bool) {
	return d, d.UnmarshalText([]byte(file)) == nil && d.String() == file && !d.IsZero()
}

// RecordFile returns the name of the record of a version, or of a journal entry, in its folder.
func RecordFile(version uint64) string {
	return fmt.Sprintf("%0*d%s", recordDigits, version, recordSuffix)
}

// ParseRecordFile returns the version, or the number, of the record with that name in its folder; ok is false for any other name.
func ParseRecordFile(file string) (version uint64, ok bool) {
	digits, ok := strings.CutSuffix(file, recordSuffix)
	if !ok || len(digits) != recordDigits {
		return 0, false
	}
	version, err := strconv.ParseUint(digits, 10, 64) // accepts neither sign nor space
	return version, err == nil && 0 < version && version <= MaxVersion
}
