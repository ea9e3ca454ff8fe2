package dataset_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"freshet.dev/pkg/dataset"
)

// An entry of the journal comes from a store or a message, which may hold anything. An entry that is accepted is valid, and its encoding is the same again.
func FuzzDecodeEntry(f *testing.F) {
	text, err := entry().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"sum":"","content":{}}`))
	f.Add([]byte(`{"content":" "}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := dataset.DecodeEntry(b)
		if err != nil {
			if !errors.Is(err, dataset.ErrEntry) {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		again, err := e.Encode()
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if e2, err := dataset.DecodeEntry(again); err != nil || e2.Sum() != e.Sum() {
			t.Errorf("%q becomes %q: %v", b, again, err)
		}
		_, _ = e.SettingsChange()
	})
}

// Settings come from entries, and changes of them from requests. Neither panics, what a change makes is what its JSON says, and an error
// is one line.
func FuzzSettings(f *testing.F) {
	for _, text := range [][2]string{
		{`{}`, `{"min_records":5,"schema":{"type":"object"},"required_keys":["a"]}`},
		{`{"max_records":9,"later":{"a":[1]}}`, `{"max_records":null,"later":null}`},
		{`{"schema":{"a":"<"}}`, `{"max_fewer_records_percent":100}`},
		{`null`, `{"required_keys":[null],"schema":null}`},
	} {
		f.Add([]byte(text[0]), []byte(text[1]))
	}
	f.Fuzz(func(t *testing.T, text, change []byte) {
		var s dataset.Settings
		var set map[string]json.RawMessage
		if json.Unmarshal(text, &s) != nil || json.Unmarshal(change, &set) != nil {
			return
		}
		after, err := s.With(set)
		if err != nil {
			if !errors.Is(err, dataset.ErrSettings) || bytes.ContainsRune([]byte(err.Error()), '\n') {
				t.Errorf("%q with %q: %q", text, change, err)
			}
			return
		}
		encoded, err := json.Marshal(after)
		if err != nil {
			t.Fatalf("%q with %q: %v", text, change, err)
		}
		var again dataset.Settings
		if err := json.Unmarshal(encoded, &again); err != nil || !reflect.DeepEqual(again, after) {
			t.Errorf("%q with %q is %+v, and as JSON %s: %v", text, change, after, encoded, err)
		}
	})
}
