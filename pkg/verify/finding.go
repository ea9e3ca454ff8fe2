package verify

import (
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
)

// Kind is the kind of a finding.
type Kind string

// The kinds of findings.
const (
	KindRecord         Kind = "record"
	KindLink           Kind = "link"
	KindSnapshot       Kind = "snapshot"
	KindDelta          Kind = "delta"
	KindSnapshotRecord Kind = "snapshot-record"
	KindState          Kind = "state"
	KindUnread         Kind = "unread"
	KindStoreID        Kind = "store-id"
	KindEntry          Kind = "entry"
	KindEventLog       Kind = "event-log"
	KindCatalog        Kind = "catalog"
)

// Meaning is a kind with a text about it.
type Meaning struct {
	Kind Kind
	Text string
}

// Kinds lists every kind with its meaning.
var Kinds = [...]Meaning{
	{KindRecord, "a version record is missing, damaged, or the record of another version"},
	{KindLink, "a version record does not name the id of the version before it, or of the version that its delta applies to"},
	{KindSnapshot, "a snapshot is missing or damaged"},
	{KindDelta, "a delta is missing or damaged"},
	{KindSnapshotRecord, "the record of a compaction's snapshot is damaged, or is that of another version"},
	{KindState, "the objects of a version have the right digests, and make other records than the version record says"},
	{KindUnread, "an object could not be read, so it is not known whether it is damaged"},
	{KindStoreID, "the store id is missing or damaged, or version records name another store"},
	{KindEntry, "a journal entry, which may have the settings, is missing or damaged"},
	{KindEventLog, "the event log does not end with the newest version, or could not be queried"},
	{KindCatalog, "the catalog does not end with the newest version, or could not be queried"},
}

// Finding is one thing that is wrong.
type Finding struct {
	Kind Kind `json:"kind"`
	// Dataset is empty for a finding about the whole store.
	Dataset string `json:"dataset,omitempty"`
	// Version is the version of the record or object at fault, or the newest version in the store for the event log and the catalog.
	Version uint64 `json:"version,omitempty"`
	// Entry is the number of the journal entry at fault; 0 if there is none.
	Entry uint64 `json:"entry,omitempty"`
	// Object is the object at fault; zero if there is none.
	Object dataset.Object `json:"object,omitzero"`
	// Place is the file or key of the record or object at fault.
	Place string `json:"place,omitempty"`
	// Problem says what is damaged or lost.
	Problem string `json:"problem"`
	// Lost are the versions that no instance can load because of it: their records name it.
	Lost []Range `json:"lost,omitempty"`
	// Readable are those of Lost that a publisher can still read, by another snapshot.
	Readable []Range `json:"readable,omitempty"`
	// Effect says which versions cannot be loaded, which can, and what instances do.
	Effect string `json:"effect"`
	// Remedy says what to do.
	Remedy string `json:"remedy,omitempty"`
	// Repaired is true if a repair has put right what was wrong. Repair says what it did, or why it could not.
	Repaired bool   `json:"repaired"`
	Repair   string `json:"repair,omitempty"`
}

// Totals counts what was verified and found.
type Totals struct {
	Datasets int    `json:"datasets"`
	Versions uint64 `json:"versions"`
	// Objects counts each object once, except where more than 65,536 other objects lie between two versions that name it.
	Objects  uint64 `json:"objects"`
	Bytes    int64  `json:"bytes"` // of the objects
	Findings int    `json:"findings"`
	Repaired int    `json:"repaired"` // among the findings
}

// Add adds o, the totals of other datasets.
func (t *Totals) Add(o Totals) {
	t.Datasets += o.Datasets
	t.Versions += o.Versions
	t.Objects += o.Objects
	t.Bytes += o.Bytes
	t.Findings += o.Findings
	t.Repaired += o.Repaired
}

// Range is a range of versions.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// String returns "version 7" or "versions 7 to 9".
func (r Range) String() string {
	if r.First == r.Last {
		return fmt.Sprintf("version %d", r.First)
	}
	return fmt.Sprintf("versions %d to %d", r.First, r.Last)
}

// maxRanges is how many ranges a text names.
const maxRanges = 8

// Text returns ranges as text: "versions 3 to 5, 7 and 9 to 12".
func Text(ranges []Range) string {
	if len(ranges) == 1 {
		return ranges[0].String()
	}
	var parts []string
	for _, r := range ranges[:min(len(ranges), maxRanges)] {
		part := fmt.Sprint(r.First)
		if r.Last > r.First {
			part = fmt.Sprintf("%d to %d", r.First, r.Last)
		}
		parts = append(parts, part)
	}
	if more := len(ranges) - maxRanges; more > 0 {
		return fmt.Sprintf("versions %s and %d more ranges", strings.Join(parts, ", "), more)
	}
	last := len(parts) - 1
	return "versions " + strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// extend adds a version to ranges in ascending order.
func extend(ranges []Range, version uint64) []Range {
	if n := len(ranges); n > 0 {
		switch last := &ranges[n-1]; version {
		case last.Last:
			return ranges
		case last.Last + 1:
			last.Last = version
			return ranges
		}
	}
	return append(ranges, Range{version, version})
}

// contains reports whether ranges in ascending order have the version.
func contains(ranges []Range, version uint64) bool {
	for _, r := range ranges {
		if r.First <= version && version <= r.Last {
			return true
		}
	}
	return false
}
