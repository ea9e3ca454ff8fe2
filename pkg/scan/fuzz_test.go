package scan_test

import (
	"encoding/json"
	"errors"
	"testing"

	"freshet.dev/pkg/scan"
)

// FuzzRequest runs arbitrary requests: each is refused with its member, or gives rows that are JSON, and the counts of its summary agree.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{
		`{"filter":"value.country == 'KR' && value.pop > 1","select":["name","geo.lat"],"limit":1}`,
		`{"select":{"a":"value.tags.map(t, t + '!')","b":"{'x': value}"},"prefix":"k"}`,
		`{"group_by":{"c":"value.?country"},"aggregate":{"n":"count()","s":"sum(value.pop)","m":"max(value.name)"},"order":["-n"]}`,
		`{"filter":"key.matches('^(a{3}|k.)+$') || timestamp('2020-01-01T00:00:00Z') < timestamp(value.t)","cursor":"AQwAAAAAAAAAAGE"}`,
	} {
		f.Add(text)
	}
	tab := tableOf(f, cities)
	f.Fuzz(func(t *testing.T, text string) {
		var r scan.Request
		if json.Unmarshal([]byte(text), &r) != nil {
			return
		}
		got, err := try(t.Context(), tab, r, scan.Limits{Memory: 1 << 20})
		var bad *scan.RequestError
		var limit *scan.LimitError
		switch {
		case errors.As(err, &bad) && bad.Member != "", errors.As(err, &limit), errors.Is(err, scan.ErrCursor):
			return
		case err != nil:
			t.Fatalf("%s: %v", text, err)
		}
		for _, row := range got.rows {
			if !json.Valid([]byte(row)) {
				t.Fatalf("%s: row %s", text, row)
			}
		}
		if got.Rows != int64(len(got.rows)) || got.Scanned > int64(len(cities)) || got.Matched > got.Scanned || got.Errors > got.Scanned || (got.Errors > 0) != (got.FirstError != nil) {
			t.Fatalf("%s: %d rows, %+v", text, len(got.rows), got.Summary)
		}
	})
}
