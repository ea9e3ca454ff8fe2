package dataset_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

func TestInputSettings(t *testing.T) {
	for change, want := range map[string]string{
		`{"key":"id"}`:                                  `{"key":"id"}`,
		`{"key":["id"]}`:                                `{"key":"id"}`,
		`{"key":["country","id"]}`:                      `{"key":["country","id"]}`,
		`{"number_keys":"integer"}`:                     `{"number_keys":"integer"}`,
		`{"csv_delimiter":"tab"}`:                       `{"csv_delimiter":"tab"}`,
		`{"csv_delimiter":";"}`:                         `{"csv_delimiter":";"}`,
		`{"csv_numbers":[]}`:                            `{"csv_numbers":[]}`,
		`{"csv_numbers":"a","csv_booleans":["b","c"]}`:  `{"csv_booleans":["b","c"],"csv_numbers":"a"}`,
		`{"csv_null":""}`:                               `{"csv_null":""}`,
		`{"csv_null":"NULL","csv_null_columns":["a"]}`:  `{"csv_null":"NULL","csv_null_columns":"a"}`,
		`{"key":"id","csv_null":"","csv_numbers":"id"}`: `{"csv_null":"","csv_numbers":"id","key":"id"}`,
	} {
		s, err := (dataset.Settings{}).With(changes(t, change))
		if err != nil {
			t.Errorf("%s: %v", change, err)
			continue
		}
		text, err := json.Marshal(s)
		var again dataset.Settings
		if err := json.Unmarshal(text, &again); err != nil {
			t.Error(err)
		}
		differ, e := s.Diff(again)
		if err != nil || e != nil || string(text) != want || len(differ) > 0 {
			t.Errorf("%s is %s, %v, and differs from itself by %s", change, text, err, differ)
		}
	}
	for change, want := range map[string]string{
		`{"key":""}`:        "want the name of a member",
		`{"key":[]}`:        "want the name of a member",
		`{"key":["a","a"]}`: "want the name of a member",
		`{"key":7}`:         "key is 7; want the name of a member",
		`{"key":[7]}`:       "want the name of a member",
		`{"key":"` + strings.Repeat("a", 257) + `"}`:       "want the name of a member",
		`{"number_keys":"float"}`:                          `number_keys is "float"; want plain, integer or as-written`,
		`{"csv_delimiter":";;"}`:                           "want one ASCII character",
		`{"csv_delimiter":"\""}`:                           "want one ASCII character",
		`{"csv_delimiter":"a"}`:                            "want one ASCII character",
		`{"csv_delimiter":"\n"}`:                           "want one ASCII character",
		`{"csv_delimiter":"é"}`:                            "want one ASCII character",
		`{"csv_null":7}`:                                   "csv_null is 7; want a text, in quotes",
		`{"csv_null_columns":"a"}`:                         "csv_null_columns is set without csv_null",
		`{"csv_numbers":"a","csv_booleans":"a"}`:           `csv_numbers and csv_booleans both name the column "a"`,
		`{"key":"a","csv_booleans":"a"}`:                   `csv_booleans names the column "a", which is in the key`,
		`{"key":"a","csv_null":"","csv_null_columns":"a"}`: `csv_null_columns names the column "a", which is in the key`,
	} {
		if _, err := (dataset.Settings{}).With(changes(t, change)); !errors.Is(err, dataset.ErrSettings) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
}
