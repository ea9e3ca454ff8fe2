package input_test

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/input"
	"github.com/go-json-experiment/json/jsontext"
)

// readOne reads one record in NDJSON.
func readOne(t *testing.T, text string, key input.Key) (string, error) {
	t.Helper()
	records, err := readKey(t.Context(), strings.NewReader(text), ndjson, key)
	if err != nil {
		return "", err
	}
	if len(records) != 1 || records[0].Value != text {
		t.Fatalf("%s is read as %+v", text, records)
	}
	return records[0].Key, nil
}

func TestNumbersAsKeys(t *testing.T) {
	const refused = ""
	long := strings.Repeat("7", 1024)
	for literal, want := range map[string]struct{ plain, integer string }{
		"1":                      {"1", "1"},
		"-20":                    {"-20", "-20"},
		"0":                      {"0", "0"},
		"-0":                     {refused, "0"},
		"1.0":                    {refused, "1"},
		"1e0":                    {refused, "1"},
		"1E+2":                   {refused, "100"},
		"10e-1":                  {refused, "1"},
		"-1.50e1":                {refused, "-15"},
		"0.0e-9":                 {refused, "0"},
		"0.007e3":                {refused, "7"},
		"0e999999999999999999":   {refused, "0"},
		"1.5":                    {refused, refused},
		"1e-1":                   {refused, refused},
		"15e-1":                  {refused, refused},
		"1e-999999999999999999":  {refused, refused},
		"1e999999999999999999":   {refused, refused},
		"9007199254740993":       {"9007199254740993", "9007199254740993"}, // no float64
		"9007199254740993.00":    {refused, "9007199254740993"},
		"18446744073709551616e1": {refused, "184467440737095516160"},
		long:                     {long, long},
		"1e1023":                 {refused, "1" + strings.Repeat("0", 1023)},
		"1e1024":                 {refused, refused},
	} {
		for mode, want := range map[dataset.NumberKeys]string{
			dataset.NumbersPlain: want.plain, dataset.NumbersInteger: want.integer, dataset.NumbersAsWritten: literal, "": literal,
		} {
			got, err := readOne(t, `{"id":`+literal+`}`, input.Key{Members: []string{"id"}, Numbers: mode})
			if got != want || (err == nil) == (want == refused) {
				t.Errorf("%s as %q is %q, %v; want %q", literal, mode, got, err, want)
			}
			if _, ok := errors.AsType[*input.Refusal](err); err != nil && !ok {
				t.Errorf("%s as %q: %v", literal, mode, err)
			}
			// A text is a text.
			if got, err := readOne(t, `{"id":"`+literal+`"}`, input.Key{Members: []string{"id"}, Numbers: mode}); got != literal || err != nil {
				t.Errorf("the text %s as %q is %q, %v", literal, mode, got, err)
			}
		}
	}
}

func TestRefusedNumbersSayWhatToWrite(t *testing.T) {
	for _, c := range []struct {
		mode    dataset.NumberKeys
		literal string
		want    string
	}{
		{dataset.NumbersPlain, "1.0", `the key member "id" is 1.0, which is no plain integer; write it as 1; or, so that all`},
		{dataset.NumbersPlain, "1.5", "write it as a string, always in the same spelling"},
		{dataset.NumbersInteger, "1.5", `the key member "id" is 1.5, which is no integer`},
	} {
		_, err := readOne(t, `{"id":`+c.literal+`}`, input.Key{Members: []string{"id"}, Numbers: c.mode})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as %s: %v; want %q", c.literal, c.mode, err, c.want)
		}
	}
}

// FuzzNumberKeys compares the keys of numbers with exact arithmetic.
func FuzzNumberKeys(f *testing.F) {
	for _, literal := range []string{"1", "-0", "1.0", "10e-1", "-12.500e+3", "1e40", "0.000e-7", "123456789012345678901234567890"} {
		f.Add(literal)
	}
	f.Fuzz(func(t *testing.T, literal string) {
		value := jsontext.Value(literal)
		if len(literal) > 200 || !value.IsValid() || value.Kind() != jsontext.KindNumber || strings.TrimSpace(literal) != literal {
			return
		}
		if i := strings.IndexAny(literal, "eE"); i >= 0 && len(literal)-i > 4 {
			return // big.Rat would take long
		}
		exact, ok := new(big.Rat).SetString(literal)
		if !ok {
			t.Fatalf("%s is no number", literal)
		}
		want := exact.Num().String()
		isInteger := exact.IsInt() && len(strings.TrimPrefix(want, "-")) <= dataset.MaxKeyBytes
		got, err := readOne(t, `{"id":`+literal+`}`, input.Key{Members: []string{"id"}, Numbers: dataset.NumbersInteger})
		if isInteger != (err == nil) && len(want) <= dataset.MaxKeyBytes || err == nil && got != want {
			t.Fatalf("%s is %q, %v; want %q", literal, got, err, want)
		}
		plain, err := readOne(t, `{"id":`+literal+`}`, input.Key{Members: []string{"id"}, Numbers: dataset.NumbersPlain})
		if (err == nil) != (isInteger && literal == want) || err == nil && plain != literal {
			t.Fatalf("%s as a plain integer is %q, %v", literal, plain, err)
		}
	})
}

func TestKeysOfSeveralMembers(t *testing.T) {
	key := input.Key{Members: []string{"country", "id"}, Numbers: dataset.NumbersInteger}
	for text, want := range map[string]string{
		`{"id":7,"country":"de"}`:               "de:7",
		`{"country":"de","x":1,"id":"7"}`:       "de:7",
		`{"country":"de","id":7.0}`:             "de:7",
		`{"country":"a:b","id":"~1"}`:           "a~1b:~01",
		`{"country":"a","id":"b:c"}`:            "a:b~1c",
		`{"\u0063ountry":"\u00e9","\u0069d":0}`: "é:0",
		`{"o":{"id":2},"id":1,"country":3}`:     "3:1",
	} {
		if got, err := readOne(t, text, key); got != want || err != nil {
			t.Errorf("%s has the key %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"id":7}`:                   `the record has no member "country", which was named as a member of the key; name a member that every record has: this one has "id"`,
		`{"id":7,"country":""}`:      `the member "country" of the key is empty`,
		`{"id":null,"country":"de"}`: `the key member "id" is null`,
		`{"id":0.5,"country":"de"}`:  `the key member "id" is 0.5, which is no integer`,
		`{"id":"` + strings.Repeat(":", 511) + `","country":"de"}`: `the key has 1025 bytes, the most is 1024; name a shorter member than "country, id" as the key`,
	} {
		if _, err := readOne(t, text, key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
	rows, err := readKey(t.Context(), strings.NewReader("id,v,country\n7,a,de\n007,b,a:b\n"), csv, input.Key{Members: []string{"country", "id"}})
	if want := "[{2 de:7 {\"id\":\"7\",\"v\":\"a\",\"country\":\"de\"}} {3 a~1b:007 {\"id\":\"007\",\"v\":\"b\",\"country\":\"a:b\"}}]"; fmt.Sprint(rows) != want || err != nil {
		t.Errorf("%v, %v", rows, err)
	}
	if _, err := readKey(t.Context(), strings.NewReader("id,v\n"), csv, key); err == nil || !strings.Contains(err.Error(), `the header has no column "country", which was named as a member of the key`) {
		t.Error(err)
	}
}
