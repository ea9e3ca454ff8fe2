package show

import (
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
)

// None is the cell for a value that does not exist. An empty cell means that the value is unknown.
const None = "-"

// RecordCount returns the number of the version's records, or "deleted" if the version deletes its dataset.
func RecordCount(rec dataset.VersionRecord) string {
	if rec.Deleted {
		return "deleted"
	}
	return Count(rec.State.Records)
}

// Delta returns the size of the delta from the previous version to the version, or None if there is no delta.
func Delta(rec dataset.VersionRecord) string {
	if delta, ok := rec.OwnDelta(); ok {
		return Bytes(delta.Bytes)
	}
	return None
}

// Chain returns the number of deltas from the version's snapshot to the version. An instance without an older version pulls the
// snapshot and these deltas.
func Chain(rec dataset.VersionRecord) uint64 { return uint64(len(rec.Chain()) - 1) }

// Promise returns the cadence that the version promises, as 24h or 1h30m, or None if it promises none.
func Promise(rec dataset.VersionRecord) string {
	if rec.ExpectEvery == 0 {
		return None
	}
	text := rec.ExpectEvery.String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, nothing) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// Deltas returns a number of deltas as text: "1 delta", "32 deltas".
func Deltas(n int) string {
	if n == 1 {
		return "1 delta"
	}
	return fmt.Sprintf("%d deltas", n)
}

// MadeFrom describes the files from which a refresh built a version: "snapshot", "snapshot + 2 deltas", or "2 deltas" if it started
// from the version served before. It is "kept table" if the instance still had the content, as after a rollback.
func MadeFrom(full bool, deltas int) string {
	switch {
	case !full && deltas == 0:
		return "kept table"
	case !full:
		return Deltas(deltas)
	case deltas == 0:
		return "snapshot"
	}
	return "snapshot + " + Deltas(deltas)
}
