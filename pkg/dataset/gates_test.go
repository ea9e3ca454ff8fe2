package dataset

import (
	"strings"
	"testing"
)

func TestGatesJudge(t *testing.T) {
	p := func(percent int) *int { return &percent }
	version := func(records, bytes, changed uint64) VersionRecord {
		return VersionRecord{State: Checksum{Records: records}, PayloadBytes: bytes, Changes: Changes{Changed: changed}}
	}
	for name, tc := range map[string]struct {
		gates  Gates
		before VersionRecord // without records: after is version 1
		after  VersionRecord
		want   string // "gate: detail" of each refusal
	}{
		"one of 100,000":        {Gates{}, version(100_000, 1, 0), version(1, 1, 0), "max_fewer_records_percent: the version has 1 records and the one before 100000: 100% fewer, the most is 50%"},
		"half of 100":           {Gates{}, version(100, 1, 0), version(50, 1, 0), ""},
		"less than half":        {Gates{}, version(100, 1, 0), version(49, 1, 0), "max_fewer_records_percent: the version has 49 records and the one before 100: 51% fewer, the most is 50%"},
		"just less than half":   {Gates{}, version(1_000_001, 1, 0), version(500_000, 1, 0), "max_fewer_records_percent: the version has 500000 records and the one before 1000001: 50.01% fewer, the most is 50%"},
		"of a small one":        {Gates{}, version(99, 1, 0), version(0, 0, 0), ""},
		"a gate of a small":     {Gates{MaxFewerRecords: p(10)}, version(10, 1, 0), version(8, 1, 0), "max_fewer_records_percent: the version has 8 records and the one before 10: 20% fewer, the most is 10%"},
		"all fewer allowed":     {Gates{MaxFewerRecords: p(100)}, version(1000, 1, 0), version(0, 0, 0), ""},
		"first version":         {Gates{MaxMoreRecords: p(0), MaxChangedRecords: p(0)}, version(0, 0, 0), version(1000, 1, 0), ""},
		"more":                  {Gates{MaxMoreRecords: p(10)}, version(100, 1, 0), version(111, 1, 0), "max_more_records_percent: the version has 111 records and the one before 100: 11% more, the most is 10%"},
		"changed":               {Gates{MaxChangedRecords: p(1)}, version(100, 1, 0), version(100, 1, 2), "max_changed_records_percent: the version changes 2 of 100 records: 2%, the most is 1%"},
		"fewer bytes":           {Gates{MaxFewerBytes: p(5)}, version(10, 1000, 0), version(10, 900, 0), "max_fewer_bytes_percent: the version has 900 bytes and the one before 1000: 10% fewer, the most is 5%"},
		"more bytes":            {Gates{MaxMoreBytes: p(200)}, version(10, 1000, 0), version(10, 3001, 0), "max_more_bytes_percent: the version has 3001 bytes and the one before 1000: 200.1% more, the most is 200%"},
		"changed bytes":         {Gates{MaxChangedBytes: p(19)}, version(10, 1000, 0), version(10, 1000, 2), "max_changed_bytes_percent: the records that change have 200 bytes and the version before has 1000: 20%, the most is 19%"},
		"too few, in version 1": {Gates{MinRecords: 5}, version(0, 0, 0), version(4, 1, 0), "min_records: the version has 4 records, the least is 5"},
		"too many":              {Gates{MaxRecords: 5}, version(5, 1, 0), version(6, 1, 0), "max_records: the version has 6 records, the most is 5"},
	} {
		before := &tc.before
		if tc.before.State.Records == 0 {
			before = nil
		}
		var got []string
		for _, r := range tc.gates.Judge(before, tc.after, 100*tc.after.Changes.Changed) {
			got = append(got, r.Gate+": "+r.Detail)
			if r.Shrinks != (strings.Contains(r.Gate, "fewer") || r.Gate == "min_records") {
				t.Errorf("%s: %s shrinks is %v", name, r.Gate, r.Shrinks)
			}
		}
		if strings.Join(got, "\n") != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	replaced := version(100, 1, 0)
	replaced.Changes = Changes{Added: 51, Removed: 51}
	before := version(100, 1, 0)
	if got := (Gates{}).Judge(&before, replaced, 0); len(got) != 1 || !got[0].Shrinks || got[0].Detail != "the version removes 51 of 100 records: 51%, the most is 50%" {
		t.Errorf("a version with other keys: %+v", got)
	}
	if got := (Gates{MinRecords: 5, MaxFewerBytes: p(1)}).Judge(&VersionRecord{State: Checksum{Records: 100}, PayloadBytes: 9}, version(1, 1, 0), 0); len(got) != 3 {
		t.Errorf("a version that meets no gate: %+v", got)
	}
}

func TestGatesCheck(t *testing.T) {
	p := func(percent int) *int { return &percent }
	for want, gates := range map[string]Gates{
		"":                          {MinRecords: 1, MaxRecords: 1, MaxFewerRecords: p(100), MaxMoreBytes: p(5000)},
		"min_records is 2":          {MinRecords: 2, MaxRecords: 1},
		"max_fewer_records_percent": {MaxFewerRecords: p(101)},
		"max_more_bytes_percent":    {MaxMoreBytes: p(-1)},
	} {
		if err := gates.Check(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", gates, err, want)
		}
	}
}
