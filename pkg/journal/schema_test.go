package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/schema"
)

// A schema is compiled when it is set. One that no value can be checked with is refused, and changes nothing.
func TestSchemaIsCompiled(t *testing.T) {
	j, err := journal.New(journal.Config{}, journal.Deps{Store: openStore(t, t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	change := func(text string) (journal.Result, error) {
		c := journal.Change{Reason: "a test"}
		if err := json.Unmarshal([]byte(text), &c.Set); err != nil {
			t.Fatal(err)
		}
		return j.Set(t.Context(), "prices", c)
	}
	for text, want := range map[string]string{
		`{"schema":{"type":"objekt"}}`:             "schema: not a usable JSON Schema: at /type",
		`{"schema":{"$ref":"file:///etc/passwd"}}`: `it refers to "file:///etc/passwd", outside of itself`,
		`{"schema":{"pattern":"("}}`:               "is not valid regex",
		`{"schema":"https://example.com/a.json"}`:  "schema is \"https://example.com/a.json\"; want a JSON object",
	} {
		_, err := change(text)
		if !errors.Is(err, journal.ErrChange) || !errors.Is(err, dataset.ErrSettings) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if r, err := change(`{"schema":{"type":"object"}}`); err != nil || r.Entry.Number != 1 || string(r.Settings.Gates.Schema) != `{"type":"object"}` {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := change(`{"schema":{ "type": "object" }}`); err != nil || r.Changed {
		t.Errorf("the same schema: %+v, %v", r, err)
	}
}

// A schema that cannot be used any more, which another release may have set, does not keep other settings from being changed.
func TestUnusableSchemaStays(t *testing.T) {
	st := openStore(t, t.TempDir())
	j, err := journal.New(journal.Config{}, journal.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	set(t, j, "prices", `{"min_records":1}`)
	later := dataset.Settings{Gates: dataset.Gates{Schema: json.RawMessage(`{"type":"later"}`)}}
	if _, err := j.Append(t.Context(), "prices", journal.Note{Kind: dataset.EntrySettings, Reason: "a later release", Content: func(context.Context, uint64) (any, error) {
		return dataset.SettingsChange{Settings: later}, nil
	}}); err != nil {
		t.Fatal(err)
	}
	fresh, err := journal.New(journal.Config{}, journal.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if r := set(t, fresh, "prices", `{"max_records":5}`); r.Settings.Gates.MaxRecords != 5 || len(r.Settings.Gates.Schema) == 0 {
		t.Errorf("%+v", r)
	}
}

// The largest schema with the largest keys fits into an entry, which has both twice.
func TestLargestSchemaFits(t *testing.T) {
	j, err := journal.New(journal.Config{}, journal.Deps{Store: openStore(t, t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	text := `{"description":"` + strings.Repeat("x", dataset.MaxSchemaBytes-18) + `"}`
	var keys []string
	for i := range dataset.MaxRequiredKeys {
		keys = append(keys, fmt.Sprintf("%0*d", dataset.MaxRequiredKeyBytes/dataset.MaxRequiredKeys-4, i))
	}
	list, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	r, err := j.Set(t.Context(), "prices", journal.Change{
		Set: map[string]json.RawMessage{"schema": json.RawMessage(text), "required_keys": list, "min_records": json.RawMessage("1")},
		By:  strings.Repeat("x", dataset.MaxByBytes), Reason: strings.Repeat("x", dataset.MaxReasonBytes),
	})
	if err != nil || !r.Changed || len(text) != dataset.MaxSchemaBytes {
		t.Errorf("a schema of %d bytes and keys of %d: %v", len(text), len(list), err)
	}
	if _, err := schema.Compile([]byte(text + " ")); !errors.Is(err, schema.ErrSchema) {
		t.Errorf("a longer one: %v", err)
	}
}
