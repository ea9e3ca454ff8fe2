package dataset

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// EntryGC is the kind of an entry about versions that lose their objects. Its content is a [Removal].
const EntryGC = "gc"

// VersionRange is a range of versions.
type VersionRange struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// VersionRanges are ranges in ascending order that neither overlap nor touch.
type VersionRanges []VersionRange

// Contains reports whether one of the ranges has the version.
func (r VersionRanges) Contains(version uint64) bool {
	_, found := slices.BinarySearchFunc(r, version, func(r VersionRange, v uint64) int {
		switch {
		case r.Last < v:
			return -1
		case r.First > v:
			return 1
		}
		return 0
	})
	return found
}

// Add returns the ranges with one version more. The result may share memory with r.
func (r VersionRanges) Add(version uint64) VersionRanges {
	if n := len(r); n > 0 && r[n-1].Last+1 == version {
		r[n-1].Last = version
		return r
	}
	if r.Contains(version) {
		return r
	}
	all := append(slices.Clone(r), VersionRange{version, version})
	slices.SortFunc(all, func(a, b VersionRange) int { return cmp.Compare(a.First, b.First) })
	merged := all[:1]
	for _, next := range all[1:] {
		if last := &merged[len(merged)-1]; next.First <= last.Last+1 {
			last.Last = max(last.Last, next.Last)
		} else {
			merged = append(merged, next)
		}
	}
	return merged
}

// Count returns the number of versions.
func (r VersionRanges) Count() (n uint64) {
	for _, part := range r {
		n += part.Last - part.First + 1
	}
	return n
}

// maxRangesInText is how many ranges a text names.
const maxRangesInText = 8

// String returns the ranges as text such as "1 to 5, 7, 9 to 12".
func (r VersionRanges) String() string {
	var parts []string
	for _, part := range r[:min(len(r), maxRangesInText)] {
		if part.First == part.Last {
			parts = append(parts, fmt.Sprint(part.First))
		} else {
			parts = append(parts, fmt.Sprintf("%d to %d", part.First, part.Last))
		}
	}
	text := strings.Join(parts, ", ")
	if more := len(r) - maxRangesInText; more > 0 {
		text += fmt.Sprintf(" and %d more ranges", more)
	}
	return text
}

// Removal is the content of an entry of the kind [EntryGC]. The entry is written before the objects are removed.
type Removal struct {
	// Versions are those that lose their objects by this removal.
	Versions VersionRanges `json:"versions"`
	// Gone are all versions whose objects were removed, with those of earlier entries.
	Gone VersionRanges `json:"gone"`
	// Objects and Bytes are what the removal frees, as planned: objects that Versions named and no version that is kept.
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Removal returns the content of an entry of the kind [EntryGC].
func (e Entry) Removal() (Removal, error) {
	if e.Kind != EntryGC {
		return Removal{}, fmt.Errorf("%w: %s is of the kind %s, not %s", ErrEntry, e.ID(), e.Kind, EntryGC)
	}
	var r Removal
	if err := json.Unmarshal(e.Content, &r); err != nil {
		return Removal{}, fmt.Errorf("%w: %s: its content is not a removal of objects: %w", ErrEntry, e.ID(), err)
	}
	return r, nil
}
