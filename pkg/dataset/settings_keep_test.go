package dataset_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
)

func TestRetentionSettings(t *testing.T) {
	for text, want := range map[string]time.Duration{"0s": 0, "45s": 45 * time.Second, "90m": 90 * time.Minute, "12h": 12 * time.Hour, "30d": 720 * time.Hour, "36500d": 36500 * 24 * time.Hour} {
		s, err := dataset.Settings{}.With(map[string]json.RawMessage{"keep_for": json.RawMessage(`"` + text + `"`)})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if age, err := s.Keep.Age(); err != nil || age != want || !s.Keep.IsSet() || s.Keep.Newest() != 1 {
			t.Errorf("%s is %v, %v, %+v", text, age, err, s.Keep)
		}
	}
	for name, values := range map[string][]string{
		"keep_for":      {`"30"`, `"1w"`, `"-1d"`, `"1.5h"`, `"01d"`, `"36501d"`, `"999999999d"`, `30`, `""`, `" 1d"`},
		"keep_versions": {`0`, `-1`, `"3"`, `1.5`},
	} {
		for _, value := range values {
			if _, err := (dataset.Settings{}).With(map[string]json.RawMessage{name: json.RawMessage(value)}); !errors.Is(err, dataset.ErrSettings) {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		}
	}
	if (dataset.Retention{}).IsSet() || dataset.DefaultRetention.String() != "keep_versions=10 keep_for=30d" || dataset.DefaultRetention.Check() != nil {
		t.Errorf("the default is %s", dataset.DefaultRetention)
	}
	if _, err := (dataset.Retention{For: "2 fortnights"}).Age(); err == nil {
		t.Error("a time of a later release is understood")
	}
}

func TestVersionRanges(t *testing.T) {
	var r dataset.VersionRanges
	for _, v := range []uint64{5, 6, 9, 7, 1, 8, 3, 5} {
		r = r.Add(v)
	}
	if r.String() != "1, 3, 5 to 9" || r.Count() != 7 {
		t.Errorf("the ranges are %s, %d versions", r, r.Count())
	}
	for v, want := range map[uint64]bool{0: false, 1: true, 2: false, 3: true, 4: false, 5: true, 9: true, 10: false} {
		if r.Contains(v) != want {
			t.Errorf("contains %d: %t", v, !want)
		}
	}
	if r = r.Add(2); r.String() != "1 to 3, 5 to 9" {
		t.Errorf("the ranges are %s", r)
	}
	var many dataset.VersionRanges
	for v := range uint64(10) {
		many = many.Add(2*v + 1)
	}
	if many.String() != "1, 3, 5, 7, 9, 11, 13, 15 and 2 more ranges" {
		t.Errorf("the text is %s", many)
	}
	e := dataset.Entry{Dataset: "prices", Number: 1, Kind: dataset.EntryGC, Content: json.RawMessage(`{"versions":[{"first":1,"last":2}],"gone":[{"first":1,"last":2}],"objects":3,"bytes":9}`)}
	if removal, err := e.Removal(); err != nil || removal.Gone.String() != "1 to 2" || removal.Bytes != 9 {
		t.Errorf("the entry says %+v, %v", removal, err)
	}
	e.Kind = dataset.EntrySettings
	if _, err := e.Removal(); !errors.Is(err, dataset.ErrEntry) {
		t.Errorf("an entry of another kind: %v", err)
	}
}
