package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
)

const (
	objectsFolder  = "objects"
	versionsFolder = "versions"
	snapsFolder    = "snapshots"
	claimsFolder   = "claims"
	tmpFolder      = "tmp"
	// idFile holds the store id.
	idFile = "store.json"

	recordSuffix = ".json"
	// recordDigits is the length of the largest uint64, so that names sort as versions do.
	recordDigits = 20
	// maxVersion lets two versions be added without a thought. A file with a higher number was not put by us.
	maxVersion = 1 << 62

	// staleAfter is the age from which an unfinished upload counts as dead. Uploads take minutes; a live one that
	// stalls for a day fails when it is resumed, and nothing worse.
	staleAfter = 24 * time.Hour
)

func objectName(d dataset.Digest) string {
	hex := d.String()
	return objectsFolder + "/" + hex[:2] + "/" + hex
}

func versionsName(name string) string { return versionsFolder + "/" + name }

func recordName(name string, version uint64) string {
	return versionsName(name) + "/" + recordFile(version)
}

func snapshotsName(name string) string { return snapsFolder + "/" + name }

func snapshotRecordName(name string, version uint64) string {
	return snapshotsName(name) + "/" + recordFile(version)
}

func claimsName(name string) string { return claimsFolder + "/" + name }

func claimName(name string, version uint64) string {
	return claimsName(name) + "/" + recordFile(version)
}

func recordFile(version uint64) string {
	return fmt.Sprintf("%0*d%s", recordDigits, version, recordSuffix)
}

// parseRecordFile returns the version whose record has the file name; ok is false for any other name.
func parseRecordFile(file string) (version uint64, ok bool) {
	digits, ok := strings.CutSuffix(file, recordSuffix)
	if !ok || len(digits) != recordDigits {
		return 0, false
	}
	version, err := strconv.ParseUint(digits, 10, 64) // takes no sign and no space
	return version, err == nil && 0 < version && version <= maxVersion
}

// decodeRecord returns the version record that place held when it was read, with errors that name all three.
func decodeRecord(b []byte, name string, version uint64, place string) (dataset.VersionRecord, error) {
	rec, err := dataset.DecodeVersionRecord(b)
	if err != nil {
		return dataset.VersionRecord{}, damagedRecord(name, version, place, err)
	}
	if rec.Dataset != name || rec.Version != version {
		return dataset.VersionRecord{}, damagedRecord(name, version, place, fmt.Errorf("it is the record of %s", rec.ID()))
	}
	return rec, nil
}

// decodeSnapshotRecord is decodeRecord for a snapshot record.
func decodeSnapshotRecord(b []byte, name string, version uint64, place string) (dataset.SnapshotRecord, error) {
	rec, err := dataset.DecodeSnapshotRecord(b)
	if err == nil && (rec.Dataset != name || rec.Object.Version != version) {
		err = fmt.Errorf("it is the record of %s", rec.ID())
	}
	if err != nil {
		return dataset.SnapshotRecord{}, damagedSnapshot(name, version, place, err)
	}
	return rec, nil
}

// damagedSnapshot says that a snapshot record is damaged. Nothing is lost with one: versions name an older snapshot.
func damagedSnapshot(name string, version uint64, place string, why error) error {
	return fmt.Errorf("%w: the snapshot record of %s version %d at %s: %w; the next compaction puts another in its place", ErrDamaged, name, version, place, why)
}

func noSnapshot(name string, after, upTo uint64, where fmt.Stringer) error {
	return fmt.Errorf("a snapshot record of %s after version %d, up to %d: %w %s", name, after, upTo, ErrNotFound, where)
}

// decodeClaim is decodeRecord for a claim.
func decodeClaim(b []byte, name string, version uint64, place string) (dataset.Claim, error) {
	c, err := dataset.DecodeClaim(b)
	if err == nil && (c.Dataset != name || c.Version != version) {
		err = fmt.Errorf("it is the claim of %s", c.ID())
	}
	if err != nil {
		return dataset.Claim{}, damagedClaim(name, version, place, err)
	}
	return c, nil
}

// damagedClaim says that a claim is damaged. Publishers ignore it.
func damagedClaim(name string, version uint64, place string, why error) error {
	return fmt.Errorf("%w: the claim of %s version %d at %s: %w; remove it", ErrDamaged, name, version, place, why)
}

func noClaim(name string, where fmt.Stringer) error {
	return fmt.Errorf("a claim of dataset %s: %w %s", name, ErrNotFound, where)
}

// checkNext says why rec cannot be committed while newest is the dataset's newest version, 0 for none.
func checkNext(rec dataset.VersionRecord, newest uint64) error {
	switch {
	case rec.Version <= newest:
		return fmt.Errorf("commit %s: %w: the newest is %d", rec.ID(), ErrExists, newest)
	case rec.Version > newest+1 && newest == 0:
		return fmt.Errorf("commit %s: %w: the dataset has no version yet, so the next is 1", rec.ID(), ErrGap)
	case rec.Version > newest+1:
		return fmt.Errorf("commit %s: %w: the newest is %d, so the next is %d", rec.ID(), ErrGap, newest, newest+1)
	}
	return nil
}

// page returns the highest version and the number of versions that Versions reads for before and limit.
func page(newest, before uint64, limit int) (from uint64, n int) {
	from = newest
	if before > 0 {
		from = min(newest, before-1)
	}
	if limit <= 0 || uint64(limit) > from {
		return from, int(from)
	}
	return from, limit
}

// checkRange says why length bytes from offset cannot be read of an object of size bytes, and returns the number of
// bytes that a negative length stands for.
func checkRange(d dataset.Digest, size, offset, length int64) (int64, error) {
	if offset < 0 || offset > size || length > size-offset {
		return 0, rangeError(d, size, offset, length)
	}
	if length < 0 {
		return size - offset, nil
	}
	return length, nil
}

func rangeError(d dataset.Digest, size, offset, length int64) error {
	if length < 0 {
		return fmt.Errorf("%w: object %s has %d bytes, asked for those from %d on", ErrRange, d, size, offset)
	}
	return fmt.Errorf("%w: object %s has %d bytes, asked for %d from %d on", ErrRange, d, size, length, offset)
}
