package scan_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"freshet.dev/pkg/scan"
	"freshet.dev/pkg/table"
	"pgregory.net/rapid"
)

// fields are a record of the model: a string, which may be missing, and n, which is nil, a float64 or a string.
type fields struct {
	c *string
	n any
}

func (f fields) json() string {
	var members []string
	if f.c != nil {
		members = append(members, fmt.Sprintf(`"c":%q`, *f.c))
	}
	switch n := f.n.(type) {
	case float64:
		members = append(members, `"n":`+strconv.FormatFloat(n, 'f', -1, 64))
	case string:
		members = append(members, fmt.Sprintf(`"n":%q`, n))
	}
	return "{" + strings.Join(members, ",") + "}"
}

var errModel = errors.New("an error of the expression")

// predicate is an expression of a bool: its text, and what it gives.
type predicate struct {
	text string
	of   func(fields) (bool, error)
}

var words = []string{"a", "ab", "b", ""}

func atoms() *rapid.Generator[predicate] {
	return rapid.Custom(func(t *rapid.T) predicate {
		word := rapid.SampledFrom(words).Draw(t, "word")
		n := float64(rapid.IntRange(-3, 3).Draw(t, "n"))
		return rapid.SampledFrom([]predicate{
			{"true", func(fields) (bool, error) { return true, nil }},
			{"has(value.c)", func(f fields) (bool, error) { return f.c != nil, nil }},
			{"has(value.n)", func(f fields) (bool, error) { return f.n != nil, nil }},
			{fmt.Sprintf("value.c == %q", word), func(f fields) (bool, error) {
				if f.c == nil {
					return false, errModel
				}
				return *f.c == word, nil
			}},
			{fmt.Sprintf("value.?c.orValue('') < %q", word), func(f fields) (bool, error) { return f.c != nil && *f.c < word || f.c == nil && word != "", nil }},
			{fmt.Sprintf("value.c.startsWith(%q)", word), func(f fields) (bool, error) {
				if f.c == nil {
					return false, errModel
				}
				return strings.HasPrefix(*f.c, word), nil
			}},
			{fmt.Sprintf("value.n > %v", n), func(f fields) (bool, error) {
				if x, ok := f.n.(float64); ok {
					return x > n, nil
				}
				return false, errModel
			}},
			{fmt.Sprintf("value['n'] in [%v, %q, 1.5]", n, word), func(f fields) (bool, error) {
				if f.n == nil {
					return false, errModel
				}
				return f.n == n || f.n == word || f.n == 1.5, nil
			}},
		}).Draw(t, "atom")
	})
}

func predicates(depth int) *rapid.Generator[predicate] {
	if depth == 0 {
		return atoms()
	}
	return rapid.Custom(func(t *rapid.T) predicate {
		inner := predicates(depth - 1)
		a := inner.Draw(t, "a")
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return predicate{"!(" + a.text + ")", func(f fields) (bool, error) { x, err := a.of(f); return !x, err }}
		case 1:
			b := inner.Draw(t, "b")
			return predicate{"(" + a.text + " && " + b.text + ")", func(f fields) (bool, error) { return either(a, b, f, false) }}
		case 2:
			b := inner.Draw(t, "b")
			return predicate{"(" + a.text + " || " + b.text + ")", func(f fields) (bool, error) { return either(a, b, f, true) }}
		}
		return a
	})
}

// either evaluates && or ||: one operand that is decides, whatever the other is.
func either(a, b predicate, f fields, decides bool) (bool, error) {
	x, errA := a.of(f)
	y, errB := b.of(f)
	if errA == nil && x == decides || errB == nil && y == decides {
		return decides, nil
	}
	return !decides, errors.Join(errA, errB)
}

// TestModel compares scans with a plain loop over the records.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		records := make(map[string]fields)
		texts := make(map[string]string)
		for i := range rapid.IntRange(0, 40).Draw(rt, "records") {
			key := fmt.Sprintf("k%d", i)
			var f fields
			if rapid.Bool().Draw(rt, "has c") {
				w := rapid.SampledFrom(words).Draw(rt, "c")
				f.c = &w
			}
			switch rapid.IntRange(0, 5).Draw(rt, "n is") {
			case 0:
			case 1:
				f.n = rapid.SampledFrom(words).Draw(rt, "n")
			default:
				f.n = float64(rapid.IntRange(-8, 8).Draw(rt, "n")) / 2
			}
			records[key], texts[key] = f, f.json()
		}
		p := predicates(3).Draw(rt, "filter")
		m := model{t, tableOf(t, texts), records, texts}
		m.checkRows(rt, p, rapid.IntRange(0, 7).Draw(rt, "limit"))
		m.checkGroups(rt, p)
	})
}

type model struct {
	t       *testing.T
	table   *table.Table
	records map[string]fields
	texts   map[string]string
}

// checkRows reads pages of limit rows.
func (m model) checkRows(rt *rapid.T, p predicate, limit int) {
	var want []string
	failed := int64(0)
	for key, f := range m.records {
		switch ok, err := p.of(f); {
		case err != nil:
			failed++
		case ok:
			want = append(want, fmt.Sprintf(`{"key":%q,"value":%s}`, key, m.texts[key]))
		}
	}
	slices.Sort(want)
	var got answer
	r := scan.Request{Filter: p.text, Limit: limit}
	for {
		page := run(m.t, m.table, r)
		got.rows = append(got.rows, page.rows...)
		got.Errors, got.Scanned = got.Errors+page.Errors, got.Scanned+page.Scanned
		if page.Cursor == "" {
			break
		}
		r.Cursor = page.Cursor
	}
	if !slices.Equal(got.sorted(), want) || got.Errors != failed || got.Scanned != int64(len(m.records)) {
		rt.Fatalf("%s\nrows %q\nwant %q\n%+v, want %d errors", p.text, got.sorted(), want, got.Summary, failed)
	}
}

func (m model) checkGroups(rt *rapid.T, p predicate) {
	type state struct {
		count    int
		sum      float64
		least    *float64
		distinct map[string]bool
	}
	groups := make(map[string]*state)
	failed := int64(0)
	for _, f := range m.records {
		ok, err := p.of(f)
		n, number := f.n.(float64)
		if err != nil || ok && f.n != nil && !number {
			failed++
			continue
		} else if !ok {
			continue
		}
		c := "null"
		if f.c != nil {
			c = strconv.Quote(*f.c)
		}
		if groups[c] == nil {
			groups[c] = &state{distinct: make(map[string]bool)}
		}
		g := groups[c]
		g.count++
		if number {
			g.sum += n
			g.distinct[strconv.FormatFloat(n, 'f', -1, 64)] = true
			if g.least == nil || n < *g.least {
				g.least = &n
			}
		}
	}
	var want []string
	for c, g := range groups {
		least := "null"
		if g.least != nil {
			least = strconv.FormatFloat(*g.least, 'f', -1, 64)
		}
		want = append(want, fmt.Sprintf(`{"c":%s,"d":%d,"least":%s,"n":%d,"sum":%s}`, c, len(g.distinct), least, g.count, strconv.FormatFloat(g.sum, 'f', -1, 64)))
	}
	slices.Sort(want)
	got := run(m.t, m.table, scan.Request{
		Filter: p.text, GroupBy: map[string]string{"c": "value.?c"},
		Aggregate: map[string]string{"n": "count()", "sum": "sum(value.?n)", "least": "min(value.?n)", "d": "count_distinct(value.?n)"},
	})
	if !slices.Equal(got.sorted(), want) || got.Errors != failed {
		rt.Fatalf("%s\nrows %q\nwant %q\n%+v, want %d errors", p.text, got.rows, want, got.Summary, failed)
	}
}
