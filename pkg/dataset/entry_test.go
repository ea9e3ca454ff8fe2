package dataset_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func entry() dataset.Entry {
	return dataset.Entry{
		StoreID: dataset.StoreID{1, 2}, Dataset: "prices", Number: 7, Kind: dataset.EntrySettings,
		Time: time.Date(2026, 11, 30, 8, 0, 0, 5, time.UTC), By: "ann@host", Reason: "a <b> & c", RequestID: "r-1",
		Content: json.RawMessage(`{"settings":{"min_records":5},"changes":{"min_records":5,"max_records":null}}`),
	}
}

// The text of an entry is stable: a release reads the entries of the others.
func TestEntryAsJSON(t *testing.T) {
	b, err := entry().Encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"by":"ann@host","content":{"settings":{"min_records":5},"changes":{"min_records":5,"max_records":null}},` +
		`"dataset":"prices","kind":"settings","number":7,"reason":"a \u003cb\u003e \u0026 c","request_id":"r-1",` +
		`"store_id":"01020000000000000000000000000000","sum":"SUM","time":"2026-11-30T08:00:00.000000005Z"}`
	if got := strings.Replace(string(b), entry().Sum(), "SUM", 1); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	got, err := dataset.DecodeEntry(b)
	if diff := cmp.Diff(entry(), got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// Members of later releases survive, and are part of the sum.
func TestEntryKeepsUnknownMembers(t *testing.T) {
	e := entry()
	e.Kind, e.Content = "pin", json.RawMessage(`{"version":3,"x":"<"}`)
	e.Extra = map[string]json.RawMessage{"approved_by": json.RawMessage(`"bob"`)}
	b, err := e.Encode()
	if err != nil || !strings.Contains(string(b), `"approved_by":"bob"`) {
		t.Fatal(string(b), err)
	}
	got, err := dataset.DecodeEntry(b)
	if err != nil || string(got.Extra["approved_by"]) != `"bob"` {
		t.Fatal(got, err)
	}
	if again, err := got.Encode(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("%s, %v; want %s", again, err, b)
	}
	if _, err := dataset.DecodeEntry(bytes.Replace(b, []byte("bob"), []byte("eve"), 1)); !errors.Is(err, dataset.ErrEntry) {
		t.Errorf("another value of an unknown member: %v", err)
	}
}

// Every flipped bit is detected.
func TestDamagedEntryIsRefused(t *testing.T) {
	good, err := entry().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			got, err := dataset.DecodeEntry(b)
			if err == nil && got.Sum() != entry().Sum() {
				t.Fatalf("bit %d of byte %d is flipped, and the entry is read: %s", bit, i, b)
			}
			if err != nil && !errors.Is(err, dataset.ErrEntry) {
				t.Fatalf("%v", err)
			}
		}
	}
	for n := range good {
		if _, err := dataset.DecodeEntry(good[:n]); !errors.Is(err, dataset.ErrEntry) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestEntryCheck(t *testing.T) {
	for want, change := range map[string]func(*dataset.Entry){
		"not a dataset name":    func(e *dataset.Entry) { e.Dataset = "Prices" },
		"begin at 1":            func(e *dataset.Entry) { e.Number = 0 },
		"no store id":           func(e *dataset.Entry) { e.StoreID = dataset.StoreID{} },
		"the kind is":           func(e *dataset.Entry) { e.Kind = "Set" },
		"no time":               func(e *dataset.Entry) { e.Time = time.Time{} },
		"not a JSON object":     func(e *dataset.Entry) { e.Content = json.RawMessage("[]") },
		"is not a JSON object":  func(e *dataset.Entry) { e.Content = nil },
		"not a request id":      func(e *dataset.Entry) { e.RequestID = "a b" },
		"reason has 1025 bytes": func(e *dataset.Entry) { e.Reason = strings.Repeat("x", 1025) },
		"control character":     func(e *dataset.Entry) { e.By = "a\nb" },
		"the most is 65536":     func(e *dataset.Entry) { e.Content = json.RawMessage(`{"a":"` + strings.Repeat("x", 64<<10) + `"}`) },
	} {
		e := entry()
		change(&e)
		if _, err := e.Encode(); !errors.Is(err, dataset.ErrEntry) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := dataset.DecodeEntry(bytes.Repeat([]byte(" "), 64<<10+1)); !errors.Is(err, dataset.ErrEntry) || !strings.Contains(err.Error(), "65537 bytes") {
		t.Errorf("%v", err)
	}
}

func TestEntryEvent(t *testing.T) {
	text, err := os.ReadFile("journal.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("journal.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("journal.json")
	if err != nil {
		t.Fatal(err)
	}
	b, err := dataset.EncodeEntryEvent(entry())
	if err != nil {
		t.Fatal(err)
	}
	event, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(event); err != nil {
		t.Errorf("%s\n%v", b, err)
	}
	got, err := dataset.DecodeEntryEvent(b)
	if diff := cmp.Diff(entry(), got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, other := range [][2]string{{"prices/journal/7", "prices/journal/8"}, {`"subject":"prices"`, `"subject":"cities"`}, {"journal.v1", "version.v1"}, {"/freshet/store/01", "/freshet/store/02"}} {
		if _, err := dataset.DecodeEntryEvent(bytes.Replace(b, []byte(other[0]), []byte(other[1]), 1)); !errors.Is(err, dataset.ErrEvent) {
			t.Errorf("with %s: %v", other[1], err)
		}
	}
	if _, err := dataset.DecodeEvent(b); !errors.Is(err, dataset.ErrEvent) {
		t.Errorf("a journal event is read as that of a version: %v", err)
	}
}
