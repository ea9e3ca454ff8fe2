package show

import (
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
)

// None stands in a table for what there is not, where an empty cell could be taken for something unknown.
const None = "-"

// Delta returns the size of the delta that leads to the version from the one before, or None if there is no delta.
func Delta(rec dataset.VersionRecord) string {
	if n := len(rec.Deltas); n > 0 {
		return Bytes(rec.Deltas[n-1].Bytes)
	}
	return None
}

// Chain returns how many deltas lead on from the version's snapshot to the version: who begins with nothing pulls the
// snapshot and these.
func Chain(rec dataset.VersionRecord) uint64 { return rec.Version - rec.Snapshot.Version }

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

// MadeFrom says what a refresh made a version from: "snapshot" if from that alone, "snapshot + 2 deltas", or "2 deltas"
// if from the version that was served before.
func MadeFrom(full bool, deltas int) string {
	switch {
	case !full:
		return Deltas(deltas)
	case deltas == 0:
		return "snapshot"
	}
	return "snapshot + " + Deltas(deltas)
}
