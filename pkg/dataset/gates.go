package dataset

import (
	"encoding/json"
	"fmt"
	"math"
)

// DefaultMaxFewerRecords is the gate that every dataset of at least GateRecords records has unless its settings say otherwise: a
// version may have at most that many percent fewer records than the one before.
const (
	DefaultMaxFewerRecords = 50
	GateRecords            = 100
)

// Gates bound what a version may change. A publisher refuses, before the commit, a version that does not meet them. Percentages are of
// the version before; version 1, and a version after one without records or bytes, meets every percentage. The zero Gates has the
// default gate alone.
type Gates struct {
	// MinRecords and MaxRecords bound the number of records; 0 is no bound.
	MinRecords uint64 `json:"min_records,omitempty"`
	MaxRecords uint64 `json:"max_records,omitempty"`
	// MaxFewerRecords, MaxMoreRecords and MaxChangedRecords are how many percent of the records a version may have fewer or more, and may
	// change in place. Records that are removed count as fewer, even if as many are added: the keys may be those of another dataset. nil is no bound, but MaxFewerRecords is then DefaultMaxFewerRecords for a version before of at least GateRecords
	// records. 100 percent fewer allows everything.
	MaxFewerRecords   *int `json:"max_fewer_records_percent,omitempty"`
	MaxMoreRecords    *int `json:"max_more_records_percent,omitempty"`
	MaxChangedRecords *int `json:"max_changed_records_percent,omitempty"`
	// MaxFewerBytes and MaxMoreBytes are how many percent of the bytes of all keys and values a version may have fewer or more; nil is no
	// bound.
	MaxFewerBytes *int `json:"max_fewer_bytes_percent,omitempty"`
	MaxMoreBytes  *int `json:"max_more_bytes_percent,omitempty"`
	// MaxChangedBytes is how many percent of the bytes of the version before the records that change in place may have, with their new
	// values; nil is no bound.
	MaxChangedBytes *int `json:"max_changed_bytes_percent,omitempty"`
	// Schema is the JSON Schema that the values meet: all those of a publish, and those that a patch or a rollback adds or changes. nil is no
	// schema.
	Schema json.RawMessage `json:"schema,omitempty"`
	// RequiredKeys are keys that each version has.
	RequiredKeys []string `json:"required_keys,omitempty"`
}

// GateRefusal is a gate that a version does not meet.
type GateRefusal struct {
	// Gate is the member of Gates, by its name in JSON.
	Gate string `json:"gate"`
	// Detail has the numbers, as text for people.
	Detail string `json:"detail"`
	// Shrinks is true for a gate about fewer records or bytes. A request that allows the dataset to shrink passes those.
	Shrinks bool `json:"shrinks,omitempty"`
}

// Check returns an error that names the member if a gate is impossible.
func (g Gates) Check() error {
	if g.MaxRecords > 0 && g.MinRecords > g.MaxRecords {
		return fmt.Errorf("min_records is %d and max_records %d: no dataset meets both", g.MinRecords, g.MaxRecords)
	}
	if n := uint64(len(g.RequiredKeys)); g.MaxRecords > 0 && n > g.MaxRecords {
		return fmt.Errorf("required_keys has %d keys and max_records is %d: no dataset meets both", n, g.MaxRecords)
	}
	for _, gate := range g.percentages() {
		switch p := gate.percent; {
		case p == nil:
		case *p < 0:
			return fmt.Errorf("%s is %d; it cannot be negative", gate.name, *p)
		case gate.most > 0 && *p > gate.most:
			return fmt.Errorf("%s is %d; the most is %d, which allows everything", gate.name, *p, gate.most)
		}
	}
	return nil
}

// percentage is a gate of a percentage. most is the largest; 0 is none.
type percentage struct {
	name    string
	percent *int
	most    int
}

func (g Gates) percentages() []percentage {
	return []percentage{
		{"max_fewer_records_percent", g.MaxFewerRecords, 100},
		{"max_more_records_percent", g.MaxMoreRecords, 0},
		{"max_changed_records_percent", g.MaxChangedRecords, 100},
		{"max_fewer_bytes_percent", g.MaxFewerBytes, 100},
		{"max_more_bytes_percent", g.MaxMoreBytes, 0},
		{"max_changed_bytes_percent", g.MaxChangedBytes, 0},
	}
}

// Judge returns the gates about numbers that the version after does not meet: all but Schema and RequiredKeys. It uses the number of records,
// PayloadBytes and Changes of after, and the first two of before, which is nil if after is version 1. changedBytes are the bytes of the keys
// and new values of the records that change in place.
func (g Gates) Judge(before *VersionRecord, after VersionRecord, changedBytes uint64) []GateRefusal {
	var refusals []GateRefusal
	refuse := func(gate string, shrinks bool, format string, args ...any) {
		refusals = append(refusals, GateRefusal{gate, fmt.Sprintf(format, args...), shrinks})
	}
	records := after.State.Records
	if records < g.MinRecords {
		refuse("min_records", true, "the version has %d records, the least is %d", records, g.MinRecords)
	}
	if g.MaxRecords > 0 && records > g.MaxRecords {
		refuse("max_records", false, "the version has %d records, the most is %d", records, g.MaxRecords)
	}
	if before == nil {
		return refusals
	}
	had, bytes := before.State.Records, before.PayloadBytes
	fewer := g.MaxFewerRecords
	if fewer == nil && had >= GateRecords {
		usual := DefaultMaxFewerRecords
		fewer = &usual
	}
	if records < had && exceeds(had-records, had, fewer) {
		refuse("max_fewer_records_percent", true, "the version has %d records and the one before %d: %s fewer, the most is %d%%", records, had, percent(had-records, had), *fewer)
	} else if removed := after.Changes.Removed; exceeds(removed, had, fewer) {
		refuse("max_fewer_records_percent", true, "the version removes %d of %d records: %s, the most is %d%%", removed, had, percent(removed, had), *fewer)
	}
	if records > had && exceeds(records-had, had, g.MaxMoreRecords) {
		refuse("max_more_records_percent", false, "the version has %d records and the one before %d: %s more, the most is %d%%", records, had, percent(records-had, had), *g.MaxMoreRecords)
	}
	if changed := after.Changes.Changed; exceeds(changed, had, g.MaxChangedRecords) {
		refuse("max_changed_records_percent", false, "the version changes %d of %d records: %s, the most is %d%%", changed, had, percent(changed, had), *g.MaxChangedRecords)
	}
	if now := after.PayloadBytes; now < bytes && exceeds(bytes-now, bytes, g.MaxFewerBytes) {
		refuse("max_fewer_bytes_percent", true, "the version has %d bytes and the one before %d: %s fewer, the most is %d%%", now, bytes, percent(bytes-now, bytes), *g.MaxFewerBytes)
	} else if now > bytes && exceeds(now-bytes, bytes, g.MaxMoreBytes) {
		refuse("max_more_bytes_percent", false, "the version has %d bytes and the one before %d: %s more, the most is %d%%", now, bytes, percent(now-bytes, bytes), *g.MaxMoreBytes)
	}
	if exceeds(changedBytes, bytes, g.MaxChangedBytes) {
		refuse("max_changed_bytes_percent", false, "the records that change have %d bytes and the version before has %d: %s, the most is %d%%", changedBytes, bytes, percent(changedBytes, bytes), *g.MaxChangedBytes)
	}
	return refusals
}

// exceeds reports whether part is more than percent of whole. No part of nothing is.
func exceeds(part, whole uint64, percent *int) bool {
	return percent != nil && whole > 0 && float64(part)*100 > float64(whole)*float64(*percent)
}

// percent returns part of whole as text such as "99.9%". It is rounded up, so that what exceeds a bound does not look equal to it.
func percent(part, whole uint64) string {
	return fmt.Sprintf("%.4g%%", math.Ceil(float64(part)/float64(whole)*1e4)/100)
}
