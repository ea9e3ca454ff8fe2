package dataset

import (
	"errors"
	"time"
)

// checkDeleted checks that only a version without records deletes the dataset, and that only such a version drops it.
func (r VersionRecord) checkDeleted() error {
	switch {
	case !r.Deleted && r.Dropped:
		return errors.New("the version drops the dataset without deleting it")
	case !r.Deleted:
		return nil
	case r.State != Checksum{} || r.PayloadBytes != 0:
		return errors.New("the version deletes the dataset and has records")
	case len(r.Deltas) > 0:
		return errors.New("the version deletes the dataset and has deltas")
	}
	return nil
}

// DeletedText returns who deleted the dataset, why and when, as one line: "deleted by ann@host, because it was mistyped
// (2026-11-30T12:00:00Z)". r is a version that deletes its dataset.
func (r VersionRecord) DeletedText() string {
	text := "deleted"
	if r.By != "" {
		text += " by " + r.By
	}
	if r.Reason != "" {
		text += ", because " + r.Reason
	}
	return text + " (" + r.Created.UTC().Format(time.RFC3339) + ")"
}
