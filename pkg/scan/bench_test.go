package scan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/scan"
)

// city is what a service without freshet decodes values to.
type city struct {
	Name    string  `json:"name"`
	Country string  `json:"country"`
	Pop     int     `json:"pop"`
	Lat     float64 `json:"lat"`
}

// BenchmarkFilter reads 1 M records with one member that every 200th has, and one that every second has, and counts them. The others are
// a loop over a Go map of decoded structs, and a loop over the same table that decodes each value.
func BenchmarkFilter(b *testing.B) {
	const n = 1_000_000
	texts := make(map[string]string, n)
	decoded := make(map[string]city, n)
	for i := range n {
		c := city{fmt.Sprintf("name of city %d", i), fmt.Sprintf("C%d", i%200), i % 50_000, 47.3}
		text, err := json.Marshal(c)
		if err != nil {
			b.Fatal(err)
		}
		key := fmt.Sprintf("city/%d", i)
		texts[key], decoded[key] = string(text), c
	}
	tab := tableOf(b, texts)
	clear(texts)
	count := func(b *testing.B, got, want int) {
		if got != want {
			b.Fatalf("%d records, want %d", got, want)
		}
	}
	each := func(b *testing.B) { b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record") }
	for _, f := range []struct {
		filter string
		want   int
	}{{"value.country == 'C7'", n / 200}, {"value.pop >= 25000", n / 2}, {"value.country == 'C7' && value.pop >= 25000 || key == 'city/5'", n/400 + 1}} {
		b.Run("scan/"+f.filter, func(b *testing.B) {
			b.ReportAllocs()
			l := newLane(1, 1)
			for b.Loop() {
				s := open(b, tab, scan.Request{Filter: f.filter, Aggregate: map[string]string{"n": "count()"}}, scan.Limits{})
				got, err := s.Run(b.Context(), l, func([]byte) error { return nil })
				if err != nil {
					b.Fatal(err)
				}
				count(b, int(got.Matched), f.want)
			}
			each(b)
		})
	}
	b.Run("rows", func(b *testing.B) {
		b.ReportAllocs()
		l := newLane(1, 1)
		for b.Loop() {
			s := open(b, tab, scan.Request{Select: scan.Select{Members: []string{"name", "pop"}}}, scan.Limits{})
			got, err := s.Run(b.Context(), l, func([]byte) error { return nil })
			if err != nil {
				b.Fatal(err)
			}
			count(b, int(got.Rows), n)
		}
		each(b)
	})
	b.Run("groups", func(b *testing.B) {
		b.ReportAllocs()
		l := newLane(1, 1)
		for b.Loop() {
			s := open(b, tab, scan.Request{GroupBy: map[string]string{"c": "value.country"}, Aggregate: map[string]string{"n": "count()", "pop": "sum(value.pop)"}}, scan.Limits{})
			got, err := s.Run(b.Context(), l, func([]byte) error { return nil })
			if err != nil {
				b.Fatal(err)
			}
			count(b, int(got.Rows), 200)
		}
		each(b)
	})
	b.Run("map of structs", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			matched := 0
			for _, c := range decoded {
				if c.Country == "C7" {
					matched++
				}
			}
			count(b, matched, n/200)
		}
		each(b)
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			matched := 0
			for _, value := range tab.All() {
				var c city
				if err := json.Unmarshal(value, &c); err != nil {
					b.Fatal(err)
				}
				if c.Country == "C7" {
					matched++
				}
			}
			count(b, matched, n/200)
		}
		each(b)
	})
}

// BenchmarkCompile is the cost of a scan that reads nothing.
func BenchmarkCompile(b *testing.B) {
	tab := tableOf(b, nil)
	l := newLane(1, 1)
	for b.Loop() {
		plan, err := scan.Compile(b.Context(), scan.Request{Filter: "value.country == 'C7' && value.pop > 3"}, scan.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		s, err := plan.Open(tab, dataset.VersionID{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Run(context.Background(), l, nil); err != nil {
			b.Fatal(err)
		}
	}
}
