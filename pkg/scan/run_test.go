package scan_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/scan"
	"freshet.dev/pkg/table"
)

// numbered returns n records with the member n.
func numbered(n int) map[string]string {
	m := make(map[string]string, n)
	for i := range n {
		m[fmt.Sprintf("k/%d", i)] = fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, strings.Repeat("x", 80))
	}
	return m
}

func open(tb testing.TB, t *table.Table, r scan.Request, limits scan.Limits) *scan.Scan {
	tb.Helper()
	plan, err := scan.Compile(tb.Context(), r, limits)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := plan.Open(t, dataset.VersionID{1})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Pages of several versions have each record once that all of these versions have.
func TestPagesOverVersions(t *testing.T) {
	all := numbered(3000)
	tab := tableWith(t, seed, 1, all)
	r := scan.Request{Select: scan.Select{Members: []string{"n"}}, Filter: "value.n % 2 == 0", Limit: 137}
	seen := make(map[string]int)
	pages, changed := 0, 0
	for {
		got := run(t, tab, r)
		pages++
		for _, row := range got.rows {
			seen[row]++
		}
		if got.Version != tab.Version() || (got.Before != 0) != (pages > 1) || got.Before != 0 && got.Before != tab.Version()-1 {
			t.Fatalf("page %d: %+v", pages, got.Summary)
		}
		if got.Cursor == "" {
			if got.Stopped != "" {
				t.Errorf("%+v", got.Summary)
			}
			break
		}
		if got.Stopped != scan.StoppedByLimit || len(got.rows) != r.Limit {
			t.Fatalf("page %d: %d rows, %+v", pages, len(got.rows), got.Summary)
		}
		r.Cursor = got.Cursor
		changed++
		delete(all, fmt.Sprintf("k/%d", 2*changed))
		all[fmt.Sprintf("new/%d", changed)] = `{"n":1}`
		tab = tableWith(t, seed, tab.Version()+1, all)
	}
	for i := 0; i < 3000; i += 2 {
		row := fmt.Sprintf(`{"key":"k/%d","value":{"n":%d}}`, i, i)
		if n := seen[row]; n > 1 || n == 0 && i > 2*changed {
			t.Errorf("%s came %d times", row, n)
		}
	}
	if pages < 10 {
		t.Errorf("%d pages", pages)
	}

	plan, err := scan.Compile(t.Context(), r, scan.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Open(tableWith(t, seed+1, 1, all), dataset.VersionID{}); !errors.Is(err, scan.ErrCursor) {
		t.Errorf("a cursor of another seed: %v", err)
	}
}

// A scan that reaches its time has a cursor, and makes progress however short the time is.
func TestTime(t *testing.T) {
	tab := tableOf(t, numbered(4000))
	r := scan.Request{Filter: "value.n >= 0", Select: scan.Select{Members: []string{"n"}}}
	seen := make(map[string]bool)
	for pages := 1; ; pages++ {
		got, err := try(t.Context(), tab, r, scan.Limits{Time: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range got.rows {
			seen[row] = true
		}
		if got.Cursor == "" {
			if pages < 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		if got.Stopped != scan.StoppedByTime || got.Scanned == 0 {
			t.Fatalf("%+v", got.Summary)
		}
		r.Cursor = got.Cursor
	}
	if len(seen) != 4000 {
		t.Errorf("%d records", len(seen))
	}
	var limit *scan.LimitError
	if _, err := try(t.Context(), tab, scan.Request{Aggregate: map[string]string{"n": "count()"}}, scan.Limits{Time: 1}); !errors.As(err, &limit) || limit.Limit != "time" {
		t.Errorf("groups: %v", err)
	}
}

// The rows of groups have a time too: a slow reader keeps them in memory, and a place of the server.
func TestTimeOfRowsOfGroups(t *testing.T) {
	tab := tableOf(t, numbered(20_000))
	synctest.Test(t, func(t *testing.T) {
		s := open(t, tab, scan.Request{GroupBy: map[string]string{"n": "value.n", "text": "value.text"}}, scan.Limits{Time: time.Minute})
		batches := 0
		_, err := s.Run(t.Context(), newLane(1, 1), func([]byte) error {
			batches++
			time.Sleep(25 * time.Second)
			return nil
		})
		var limit *scan.LimitError
		if !errors.As(err, &limit) || limit.Limit != "time" || batches != 3 {
			t.Errorf("%d batches, %v", batches, err)
		}
	})
}

func TestMemoryOfGroups(t *testing.T) {
	tab := tableOf(t, numbered(4000))
	for _, r := range []scan.Request{
		{GroupBy: map[string]string{"n": "value.n"}},
		{Aggregate: map[string]string{"n": "count_distinct(value.n)"}},
		{GroupBy: map[string]string{"n": "value.n % 100"}, Aggregate: map[string]string{"m": "max(key)", "d": "count_distinct(value.n)"}},
	} {
		var limit *scan.LimitError
		if _, err := try(t.Context(), tab, r, scan.Limits{Memory: 100 << 10}); !errors.As(err, &limit) || limit.Limit != "memory" || !strings.Contains(err.Error(), "use a filter") {
			t.Errorf("%+v: %v", r, err)
		}
		if _, err := try(t.Context(), tab, r, scan.Limits{}); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// While the caller writes rows, the lane is free for others; while others hold it, a scan waits and then ends with a cursor.
func TestTheLaneIsFreeWhileRowsAreWritten(t *testing.T) {
	l := lane.New(lane.Config{Name: "cpu", Width: 1, Queue: 0, Wait: time.Millisecond})
	r := scan.Request{Select: scan.Select{Members: []string{"n"}}}
	s := open(t, tableOf(t, numbered(20_000)), r, scan.Limits{})
	entered := 0
	got, err := s.Run(t.Context(), l, func([]byte) error {
		entered++
		return l.Do(context.WithoutCancel(t.Context()), func(context.Context) error { return nil })
	})
	if err != nil || entered < 5 || got.Rows != 20_000 {
		t.Errorf("%d batches, %+v, %v", entered, got, err)
	}

	s = open(t, tableOf(t, numbered(20_000)), r, scan.Limits{})
	var leave func()
	got, err = s.Run(t.Context(), l, func([]byte) error {
		_, leave, err = l.Enter(t.Context())
		return err
	})
	if err != nil || got.Stopped != scan.StoppedByLane || got.Cursor == "" || got.Rows == 0 || got.Rows == 20_000 {
		t.Errorf("%+v, %v", got, err)
	}
	var shed *lane.ShedError
	if _, err := open(t, tableOf(t, numbered(1)), r, scan.Limits{}).Run(t.Context(), l, nil); !errors.As(err, &shed) {
		t.Errorf("a scan at a full lane: %v", err)
	}
	leave()
}

func TestScansThatEndEarly(t *testing.T) {
	tab := tableOf(t, numbered(20_000))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	batches := 0
	s := open(t, tab, scan.Request{}, scan.Limits{})
	if _, err := s.Run(ctx, newLane(1, 1), func([]byte) error { batches++; cancel(); return nil }); !errors.Is(err, context.Canceled) || batches != 1 {
		t.Errorf("after %d batches: %v", batches, err)
	}
	if _, err := try(ctx, tab, scan.Request{Aggregate: map[string]string{"n": "count()"}}, scan.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("groups: %v", err)
	}
	gone := errors.New("the client has left")
	s = open(t, tab, scan.Request{}, scan.Limits{})
	if _, err := s.Run(t.Context(), newLane(1, 1), func([]byte) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

// Expressions that would take long or much memory end in an error of the record.
func TestCostOfAnEvaluation(t *testing.T) {
	items := "0"
	for i := 1; i < 3000; i++ {
		items += "," + strconv.Itoa(i)
	}
	large := strings.Repeat("y", 900<<10)
	tab := tableOf(t, map[string]string{"a": `{"items":[` + items + `],"text":"` + large + `","inner":` + strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500) + `}`})
	double := "value.text"
	for range 8 {
		double = "(" + double + "+" + double + ")"
	}
	for text, want := range map[string]string{
		"value.items.all(a, value.items.all(b, a + b >= 0))":                           "cost limit exceeded",
		"size(" + double + ") > 0":                                                     "cost limit exceeded",
		"value.text.contains(value.text + 'z')":                                        "cost limit exceeded",
		"value.text.matches('z')":                                                      "matches reads texts of up to 65536 bytes, this one has 921600",
		"value.items.map(a, value.items) == value.items.map(a, value.items)":           "cost limit exceeded",
		"value.items.map(a, value.items) == value.items.map(a, value.items + [])":      "cost limit exceeded",
		"value.items.all(a, value.items[a] == a)":                                      "",
		"value.items.all(a, !(string(a) in value) && !has(value.none))":                "",
		"value.items.map(a, value.items).size() == 3000":                               "",
		"value.inner.a.a.a.a.a.a.a.a == value.inner.a.a.a.a.a.a.a.a":                   "",
		"value.text.contains('no') || value.text.matches('[a-x]') || true":             "",
		"value.items.filter(a, a > 2990).map(a, a * 2)[0] == 5982 && 7 in value.items": "",
	} {
		got := run(t, tab, scan.Request{Filter: text, Select: scan.Select{Members: []string{"none"}}})
		if want == "" && (got.Errors != 0 || got.Rows != 1) || want != "" && (got.Errors != 1 || !strings.Contains(got.FirstError.Reason, want)) {
			t.Errorf("%.80s: %+v %+v", text, got.Summary, got.FirstError)
		}
	}
	long := scan.Request{Select: scan.Select{Named: map[string]string{"x": "[" + strings.Repeat("value,", 20) + "value]"}}}
	if got := run(t, tab, long); got.Errors != 1 || !strings.Contains(got.FirstError.Reason, "more than 4194304 bytes") {
		t.Errorf("%+v %+v", got.Summary, got.FirstError)
	}
}

// A short expression that makes a value of 2^31 elements, in little memory, ends soon, with an error. A list that is equal to many others
// does too.
func TestValuesThatExplode(t *testing.T) {
	text := strings.Repeat("x", 400_000)
	tab := tableOf(t, map[string]string{"a": `{"s":"` + text + `","t":"` + text + `","n":[0` + strings.Repeat(",0", 5000) + `]}`})
	levels := func(form string) string {
		text := "[[1,1]]"
		for i := range 30 {
			text += strings.ReplaceAll(form, "X", fmt.Sprint("v", i))
		}
		return text
	}
	lists, sums := levels(".map(X,[X,X])"), levels(".map(X,X+X)")
	long := "[" + strings.Repeat("value.F,", 20) + "1]"
	for text, want := range map[string]string{
		lists + ".exists(z, z == z)":                                       "",
		lists + ".exists(z, z != z)":                                       "",
		lists + ".exists(z, z in [z])":                                     "",
		levels(".map(X,[{'a':X,'b':X}])") + ".all(z, z == z)":              "",
		levels(".map(X,[optional.of(X),optional.of(X)])") + ".all(z,z==z)": "",
		sums + ".exists(z, size(z) > 0)":                                   "",
		sums + ".exists(z, 2 in z)":                                        "",
		sums + ".exists(z, z[5] == 1)":                                     "",
		levels(".map(X,[])") + ".all(z, z + z == [])":                      "matches",
		"[" + strings.ReplaceAll(long, "F", "s") + "].exists(l, [" + strings.ReplaceAll(long, "F", "t") + "].exists(m, value.n.all(i, l == m)))": "",
		"value.n + value.n == value.n + value.n && 0 in value.n + [1] && [1] + [2] != [1, 3]":                                                    "matches",
		"value.n + 1 == value.n": "no such overload",
	} {
		got := run(t, tab, scan.Request{Filter: text, Aggregate: map[string]string{"n": "count()"}})
		switch {
		case want == "matches" && got.Matched == 1:
		case got.Errors == 1 && strings.Contains(got.FirstError.Reason, cmp.Or(want, "cost limit exceeded")):
		default:
			t.Errorf("%.80s: %+v %+v", text, got.Summary, got.FirstError)
		}
	}
}

// A filter allocates for few records: once for each different text, and for few matches. The key costs one allocation.
func TestAllocationsOfAFilter(t *testing.T) {
	const n = 20_000
	records := make(map[string]string, n)
	for i := range n {
		records[fmt.Sprintf("k/%d", i)] = fmt.Sprintf(`{"name":"name %d","geo":{"alt":%d},"country":"C%d"}`, i, i%200, i%50)
	}
	tab := tableOf(t, records)
	// With the race detector a sync.Pool drops a quarter of what it gets.
	for filter, most := range map[string]float64{"value.country == 'C7' && value.geo.alt > 5": 0.4, "value.geo.alt < 5": 0.4, "key == 'k/9' || key.startsWith('k/1')": 1.4} {
		plan, err := scan.Compile(t.Context(), scan.Request{Filter: filter, Aggregate: map[string]string{"n": "count()"}}, scan.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		l := newLane(1, 1)
		allocations := testing.AllocsPerRun(3, func() {
			s, err := plan.Open(tab, dataset.VersionID{})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.Run(t.Context(), l, func([]byte) error { return nil }); err != nil || got.Errors != 0 || got.Matched == 0 {
				t.Fatalf("%+v, %v", got, err)
			}
		})
		if each := allocations / n; each > most {
			t.Errorf("%s: %.2f allocations a record", filter, each)
		}
	}
}
