package dataset_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

// Every member of a group is a setting, in order: a later member that is missing in KnownSettings fails here.
func TestEveryMemberIsASetting(t *testing.T) {
	var names, members []string
	for _, k := range dataset.KnownSettings() {
		names = append(names, k.Name)
	}
	for _, group := range []reflect.Type{reflect.TypeFor[dataset.Gates](), reflect.TypeFor[dataset.InputRules](), reflect.TypeFor[dataset.Retention]()} {
		for i := range group.NumField() {
			name, _, _ := strings.Cut(group.Field(i).Tag.Get("json"), ",")
			members = append(members, name)
		}
	}
	if !slices.Equal(names, members) {
		t.Errorf("the settings are %q, the members of the groups %q", names, members)
	}
}

func changes(t *testing.T, text string) (c map[string]json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSettingsWith(t *testing.T) {
	text := func(s dataset.Settings) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var s dataset.Settings
	if got := text(s); got != "{}" {
		t.Errorf("no settings are %s", got)
	}
	for _, step := range [][2]string{
		{`{"min_records":5,"max_fewer_records_percent":0}`, `{"max_fewer_records_percent":0,"min_records":5}`},
		{`{"max_records":9}`, `{"max_fewer_records_percent":0,"max_records":9,"min_records":5}`},
		{`{"max_records":null,"max_more_bytes_percent":null}`, `{"max_fewer_records_percent":0,"min_records":5}`},
		{`{"min_records":0}`, `{"max_fewer_records_percent":0}`}, // no bound is the same as not set
		{`{"required_keys":["b","a"],"schema":{ "type" : "object", "$comment":"<1.50>" }}`, `{"max_fewer_records_percent":0,"required_keys":["b","a"],"schema":{"type":"object","$comment":"\u003c1.50\u003e"}}`},
		{`{"required_keys":[],"schema":null}`, `{"max_fewer_records_percent":0}`},
		{`{}`, `{"max_fewer_records_percent":0}`},
	} {
		before := s
		var err error
		if s, err = s.With(changes(t, step[0])); err != nil || text(s) != step[1] {
			t.Fatalf("with %s: %s, %v; want %s", step[0], text(s), err, step[1])
		}
		diff, err := before.Diff(s)
		if again, e := before.With(diff); err != nil || e != nil || text(again) != step[1] {
			t.Errorf("the difference %v leads to %s, %v, %v", diff, text(again), err, e)
		}
	}
	if s.Gates.MaxFewerRecords == nil || *s.Gates.MaxFewerRecords != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSettingsRefuse(t *testing.T) {
	for change, want := range map[string]string{
		`{"min_record":5}`:                                           `there is no setting "min_record" (did you mean min_records?)`,
		`{"max_fewer_records":5}`:                                    "did you mean max_fewer_records_percent?",
		`{"color":"red"}`:                                            `there is no setting "color"; the settings are min_records, max_records, `,
		`{"color":null}`:                                             "there is no setting",
		`{"min_records":"5"}`:                                        `min_records is "5"; want a whole number`,
		`{"min_records":-1}`:                                         "min_records is -1; want a whole number",
		`{"min_records":1.5}`:                                        "min_records is 1.5",
		`{"min_records":1e3}`:                                        "min_records is 1e3",
		`{"min_records":[1]}`:                                        "min_records is [1]",
		`{"max_fewer_records_percent":101}`:                          "the most is 100",
		`{"min_records":6,"max_records":5}`:                          "no dataset meets both",
		`{"max_more_records_percent":"5%"}`:                          `without a % sign`,
		`{"max_changed_bytes_percent":-1}`:                           "max_changed_bytes_percent is -1",
		`{"schema":true}`:                                            "schema is true; want a JSON object of at most 20480 bytes",
		`{"schema":"a.json"}`:                                        `schema is "a.json"`,
		`{"schema":[` + "\n" + `{"a":1}]}`:                           `schema is [{"a":1}]; want`,
		`{"schema":{"a":"` + strings.Repeat("<", 3500) + `"}}`:       "want a JSON object of at most 20480 bytes", // "<" takes 6 bytes in a journal
		`{"required_keys":"a"}`:                                      `required_keys is "a"; want a JSON array of keys`,
		`{"required_keys":["a",""]}`:                                 "want a JSON array",
		`{"required_keys":["a",null]}`:                               "want a JSON array",
		`{"required_keys":["a","a"]}`:                                "each once",
		`{"required_keys":["` + strings.Repeat("a", 1025) + `"]}`:    "want a JSON array",
		`{"required_keys":[` + strings.Repeat(`"a",`, 100) + `"b"]}`: "at most 100",
		`{"required_keys":["a","b"],"max_records":1}`:                "required_keys has 2 keys and max_records is 1: no dataset meets both",
	} {
		if _, err := (dataset.Settings{}).With(changes(t, change)); !errors.Is(err, dataset.ErrSettings) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
	if _, err := (dataset.Settings{}).With(map[string]json.RawMessage{"min_records": json.RawMessage("007")}); !errors.Is(err, dataset.ErrSettings) {
		t.Errorf("a value that is no JSON: %v", err)
	}
}

// Settings of a later release are kept and shown, and can be unset.
func TestSettingsOfALaterRelease(t *testing.T) {
	var s dataset.Settings
	const text = `{"min_records":5,"retention":{"versions":10}}`
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Gates.MinRecords != 5 {
		t.Fatal(s, err)
	}
	s, err := s.With(changes(t, `{"min_records":6}`))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(s); err != nil || string(b) != `{"min_records":6,"retention":{"versions":10}}` {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := s.With(changes(t, `{"retention":{"versions":11}}`)); !errors.Is(err, dataset.ErrSettings) {
		t.Errorf("a value of an unknown setting: %v", err)
	}
	if s, err = s.With(changes(t, `{"retention":null}`)); err != nil || s.Extra != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSettingsChange(t *testing.T) {
	c, err := entry().SettingsChange()
	if err != nil || c.Settings.Gates.MinRecords != 5 || len(c.Changes) != 2 || string(c.Changes["max_records"]) != "null" {
		t.Errorf("%+v, %v", c, err)
	}
	for content, kind := range map[string]string{`{}`: "pin", `{"settings":{"min_records":"x"}}`: "settings"} {
		e := entry()
		e.Kind, e.Content = kind, json.RawMessage(content)
		if _, err := e.SettingsChange(); !errors.Is(err, dataset.ErrEntry) {
			t.Errorf("%s of %s: %v", content, kind, err)
		}
	}
}
