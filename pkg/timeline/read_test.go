package timeline_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
	"freshet.dev/pkg/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// history is a store with events at minutes after noon.
type history struct {
	t  *testing.T
	st store.Store
}

func newHistory(t *testing.T) history {
	t.Helper()
	st, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return history{t, st}
}

func (h history) version(name string, version uint64, minute float64) {
	h.t.Helper()
	rec := dataset.VersionRecord{
		StoreID: dataset.StoreID{1}, Dataset: name, Version: version, Seed: 1, Snapshot: dataset.Object{Version: version, Digest: dataset.Digest{1}, Bytes: 9},
		Created: noon.Add(time.Duration(minute * float64(time.Minute))),
	}
	if version > 1 {
		rec.Previous = dataset.VersionID{1}
	}
	if err := h.st.PutVersion(h.t.Context(), rec); err != nil {
		h.t.Fatal(err)
	}
}

func (h history) entry(name string, number uint64, minute float64) {
	h.t.Helper()
	e := dataset.Entry{
		StoreID: dataset.StoreID{1}, Dataset: name, Number: number, Kind: dataset.EntrySettings,
		Time: noon.Add(time.Duration(minute * float64(time.Minute))), Content: json.RawMessage(`{"settings":{},"changes":{}}`),
	}
	if err := h.st.PutEntry(h.t.Context(), e); err != nil {
		h.t.Fatal(err)
	}
}

// name returns a short name of the event: a1 is version 1 of a, a.1 is journal entry 1, a!1 is a damaged one.
func name(e timeline.Event) string {
	switch {
	case e.Version != nil:
		return fmt.Sprint(e.Dataset, e.Version.Version)
	case e.Entry != nil:
		return fmt.Sprint(e.Dataset, ".", e.Entry.Number)
	}
	return fmt.Sprint(e.Dataset, "!", max(e.Damaged.Version, e.Damaged.Entry))
}

// read returns the names of the events, and the rest of the result.
func (h history) read(q timeline.Query) (names string, after timeline.Positions, more bool) {
	h.t.Helper()
	var all []string
	after, more, err := timeline.NewReader(h.st).Read(h.t.Context(), q, func(e timeline.Event) error {
		all = append(all, name(e))
		return nil
	})
	if err != nil {
		h.t.Fatalf("%+v: %v", q, err)
	}
	return strings.Join(all, " "), after, more
}

func (h history) want(q timeline.Query, want string) {
	h.t.Helper()
	if got, _, more := h.read(q); got != want || more {
		h.t.Errorf("%+v: %s, more is %v; want %s", q, got, more, want)
	}
}

func example(t *testing.T) history {
	h := newHistory(t)
	h.entry("a", 1, 0)
	h.version("a", 1, 10)
	h.version("b", 1, 20)
	h.version("a", 2, 30)
	h.entry("b", 1, 40)
	h.version("a", 3, 50)
	h.entry("c", 1, 60)
	return h
}

func TestRead(t *testing.T) {
	newHistory(t).want(timeline.Query{}, "")
	h := example(t)
	h.want(timeline.Query{}, "a.1 a1 b1 a2 b.1 a3 c.1")
	h.want(timeline.Query{Dataset: "a"}, "a.1 a1 a2 a3")
	h.want(timeline.Query{Dataset: "b"}, "b1 b.1")
	h.want(timeline.Query{Dataset: "c"}, "c.1")
	h.want(timeline.Query{Since: noon.Add(30 * time.Minute)}, "a2 b.1 a3 c.1")
	h.want(timeline.Query{Since: noon.Add(31 * time.Minute)}, "b.1 a3 c.1")
	h.want(timeline.Query{Since: noon.Add(2 * time.Hour)}, "")
	h.want(timeline.Query{Dataset: "a", FromVersion: 2}, "a2 a3")
	h.want(timeline.Query{Dataset: "a", FromVersion: 1}, "a1 a2 a3")
	h.want(timeline.Query{Dataset: "b", FromVersion: 1}, "b1 b.1")
	h.want(timeline.Query{After: timeline.Positions{"a": {Version: 2, Entry: 1}}}, "b1 b.1 a3 c.1")
	h.want(timeline.Query{Dataset: "a", After: timeline.Positions{"a": {Version: 99, Entry: 99}}}, "")
	h.want(timeline.Query{Dataset: "a", After: timeline.Positions{}}, "a.1 a1 a2 a3")
}

func TestReadRefuses(t *testing.T) {
	h := example(t)
	for want, q := range map[string]timeline.Query{
		"give one of":         {Since: noon, After: timeline.Positions{}},
		"requires a dataset":  {FromVersion: 2},
		"cannot be negative":  {Limit: -1},
		"not a dataset name":  {Dataset: "A"},
		"neither a version":   {Dataset: "d"},
		"d has neither":       {Dataset: "d", Since: noon},
		"a version 4: not in": {Dataset: "a", FromVersion: 4},
	} {
		_, _, err := timeline.NewReader(h.st).Read(t.Context(), q, func(timeline.Event) error { return nil })
		notFound := strings.Contains(want, "neither") || strings.Contains(want, "not in")
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, store.ErrNotFound) != notFound || errors.Is(err, timeline.ErrQuery) == notFound {
			t.Errorf("%+v: %v, want %q", q, err, want)
		}
	}
	stop := errors.New("stop")
	if after, _, err := timeline.NewReader(h.st).Read(t.Context(), timeline.Query{}, func(timeline.Event) error { return stop }); !errors.Is(err, stop) || after != nil {
		t.Errorf("%v, %v", after, err)
	}
}

// Pages of any size, through the text of cursors, give the events of one read; what is added later follows once.
func TestPages(t *testing.T) {
	h := newHistory(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	versions, entries := map[string]uint64{}, map[string]uint64{}
	add := func() {
		name := string(rune('a' + random.IntN(5)))
		minute := float64(versions["a"]+entries["b"]) + 20*random.Float64() // clocks that differ
		if random.IntN(3) == 0 {
			entries[name]++
			h.entry(name, entries[name], minute)
			return
		}
		versions[name]++
		h.version(name, versions[name], minute)
	}
	for range 200 {
		add()
	}
	whole, _, _ := h.read(timeline.Query{})
	for _, limit := range []int{1, 7, 100, 200, 201} {
		var got []string
		q := timeline.Query{Limit: limit}
		for more := true; more; {
			var names string
			var after timeline.Positions
			names, after, more = h.read(q)
			got = append(got, names)
			positions, err := timeline.ParseCursor(after.Cursor())
			if err != nil {
				t.Fatal(err)
			}
			q.After = positions
		}
		if joined := strings.Join(got, " "); joined != whole {
			t.Errorf("seed %d: pages of %d give\n%s, want\n%s", seed, limit, joined, whole)
		}
		if names, _, _ := h.read(q); names != "" {
			t.Errorf("seed %d: after the last page: %s", seed, names)
		}
	}
	_, after, _ := h.read(timeline.Query{})
	h.version("f", 1, 1)
	entries["a"]++
	h.entry("a", entries["a"], 1)
	want := []string{"f1", fmt.Sprint("a.", entries["a"])}
	slices.Sort(want)
	got, _, _ := h.read(timeline.Query{After: after})
	names := strings.Fields(got)
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("seed %d: later events are %s, want %s", seed, names, want)
	}
}

// Numbers order the versions of a dataset, also if a publisher's clock was wrong. A search for a time looks past an event of a clock that
// is a little slow.
func TestClocks(t *testing.T) {
	h := newHistory(t)
	for version, minute := range []float64{0, 10, 7, 12, 11, 13} {
		h.version("a", uint64(version+1), minute)
	}
	h.version("b", 1, 9)
	h.want(timeline.Query{Dataset: "a"}, "a1 a2 a3 a4 a5 a6")
	h.want(timeline.Query{}, "a1 b1 a2 a3 a4 a5 a6")
	h.want(timeline.Query{Since: noon.Add(10 * time.Minute)}, "a2 a3 a4 a5 a6")
	h.want(timeline.Query{Since: noon.Add(12 * time.Minute)}, "a4 a5 a6")
}

// More events than a page has, in one dataset.
func TestManyEvents(t *testing.T) {
	h := newHistory(t)
	var want []string
	for version := range uint64(200) {
		h.version("a", version+1, float64(version))
		want = append(want, fmt.Sprint("a", version+1))
	}
	h.want(timeline.Query{}, strings.Join(want, " "))
	h.want(timeline.Query{Since: noon.Add(50 * time.Minute)}, strings.Join(want[50:], " "))
	h.want(timeline.Query{Dataset: "a", FromVersion: 199}, "a199 a200")
}

// A damaged record is an event that names it, and hides no other, also if it is the newest.
func TestDamagedRecords(t *testing.T) {
	h := example(t)
	damage := func(place string) {
		t.Helper()
		if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	damage(h.st.RecordPlace("a", 3))
	damage(h.st.RecordPlace("a", 1))
	damage(h.st.EntryPlace("b", 1))
	h.want(timeline.Query{}, "a!1 b!1 a.1 b1 a2 a!3 c.1") // the first of a sequence has no time
	h.want(timeline.Query{Dataset: "a"}, "a!1 a.1 a2 a!3")
	h.want(timeline.Query{Dataset: "a", FromVersion: 1}, "a!1 a.1 a2 a!3")
	h.want(timeline.Query{Since: noon.Add(30 * time.Minute)}, "a2 a!3 c.1")
	var details []string
	_, _, err := timeline.NewReader(h.st).Read(t.Context(), timeline.Query{Dataset: "b"}, func(e timeline.Event) error {
		if e.Kind() == timeline.KindDamaged {
			details = append(details, e.Damaged.Detail)
			line, err := e.Line()
			if err != nil {
				return err
			}
			if again, end, err := timeline.ParseLine(line); err != nil || end != nil || *again.Damaged != *e.Damaged || again.Dataset != "b" {
				t.Errorf("%s is read as %+v, %v", line, again, err)
			}
		}
		return nil
	})
	if err != nil || len(details) != 1 || !strings.Contains(details[0], h.st.EntryPlace("b", 1)) {
		t.Errorf("%q, %v", details, err)
	}
}

// A record that is lost is a damaged one, also if the events begin with it.
func TestLostRecord(t *testing.T) {
	h := example(t)
	if err := os.Remove(h.st.RecordPlace("a", 2)); err != nil {
		t.Fatal(err)
	}
	h.want(timeline.Query{Dataset: "a"}, "a.1 a1 a!2 a3")
	h.want(timeline.Query{Dataset: "a", FromVersion: 2}, "a!2 a.1 a3")
}

func TestLines(t *testing.T) {
	h := example(t)
	var kinds []string
	_, _, err := timeline.NewReader(h.st).Read(t.Context(), timeline.Query{}, func(e timeline.Event) error {
		line, err := e.Line()
		if err != nil || bytes.ContainsRune(line, '\n') {
			t.Errorf("%s, %v", line, err)
		}
		again, end, err := timeline.ParseLine(line)
		if err != nil || end != nil || name(again) != name(e) || !again.Time.Equal(e.Time) || again.Kind() != e.Kind() {
			t.Errorf("%s is read as %+v, %v", line, again, err)
		}
		kinds = append(kinds, e.Kind())
		return nil
	})
	if err != nil || strings.Join(kinds, " ") != "settings version version version settings version settings" {
		t.Errorf("the kinds are %q, %v", kinds, err)
	}
	rollback := timeline.Event{Version: &dataset.VersionRecord{Restores: dataset.Ref{Version: 1}}}
	if rollback.Kind() != timeline.KindRollback {
		t.Errorf("a rollback is a %s", rollback.Kind())
	}
	const later = `{"type":"dev.freshet.dataset.replay.v1","subject":"a","time":"2026-11-30T12:00:00Z","data":{}}`
	e, end, err := timeline.ParseLine([]byte(later))
	if line, _ := e.Line(); err != nil || end != nil || e.Dataset != "a" || !e.Time.Equal(noon) || string(line) != later || e.Kind() != "" {
		t.Errorf("an event of a later release: %+v, %v", e, err)
	}
	if _, end, err := timeline.ParseLine([]byte(`{"cursor":"x","more":true}`)); err != nil || end == nil || *end != (timeline.End{Cursor: "x", More: true}) {
		t.Errorf("%+v, %v", end, err)
	}
	for _, bad := range []string{"", "x", "{}", `{"type":"dev.freshet.dataset.version.v1"}`, `{"type":"dev.freshet.dataset.journal.v1"}`} {
		if _, _, err := timeline.ParseLine([]byte(bad)); !errors.Is(err, timeline.ErrLine) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCursors(t *testing.T) {
	for _, p := range []timeline.Positions{{}, {"a": {}}, {"a": {Version: 1 << 60, Entry: 7}, "b-c_d": {Version: 2}}} {
		got, err := timeline.ParseCursor(p.Cursor())
		if err != nil || fmt.Sprint(got) != fmt.Sprint(p) {
			t.Errorf("%v reads as %v, %v", p, got, err)
		}
	}
	many := timeline.Positions{}
	for i := range 1000 {
		many[fmt.Sprintf("prices-%d", i)] = timeline.Position{Version: uint64(i * 7919), Entry: uint64(i % 5)}
	}
	if n := len(many.Cursor()); n > 16<<10 {
		t.Errorf("the cursor of %d datasets has %d bytes", len(many), n)
	}
	for _, bad := range []string{"x", "%", "AAAA", "eA", many.Cursor()[:100]} {
		if _, err := timeline.ParseCursor(bad); !errors.Is(err, timeline.ErrCursor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := timeline.ParseCursor(""); !errors.Is(err, timeline.ErrCursor) {
		t.Errorf("no text: %v", err)
	}
}
