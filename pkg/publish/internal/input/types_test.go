package input_test

import (
	"bytes"
	stdcsv "encoding/csv"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/input"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// rules returns the input rules of settings as JSON.
func rules(t *testing.T, settings string) dataset.InputRules {
	t.Helper()
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(settings), &values); err != nil {
		t.Fatal(err)
	}
	s, err := dataset.Settings{}.With(values)
	if err != nil {
		t.Fatal(err)
	}
	return s.Input
}

const remove = "$remove"

func TestTypesOfColumns(t *testing.T) {
	for name, c := range map[string]struct {
		settings string
		numbers  dataset.NumberKeys
		text     string
		want     []record
	}{
		"numbers, as they are written": {
			`{"csv_numbers":["n","m"]}`, "", "n,id,m\n1,007,-0.50\n1e3,b,0\n",
			[]record{{2, "007", `{"n":1,"id":"007","m":-0.50}`}, {3, "b", `{"n":1e3,"id":"b","m":0}`}},
		},
		"booleans": {
			`{"csv_booleans":"b"}`, "", "id,b\n1,true\n2,FALSE\n3,t\n4,f\n5,1\n6,0\n",
			[]record{
				{2, "1", `{"id":"1","b":true}`},
				{3, "2", `{"id":"2","b":false}`},
				{4, "3", `{"id":"3","b":true}`},
				{5, "4", `{"id":"4","b":false}`},
				{6, "5", `{"id":"5","b":true}`},
				{7, "6", `{"id":"6","b":false}`},
			},
		},
		"null in every column but the key": {
			`{"csv_null":"","csv_numbers":"n"}`, "", "id,n,t\na,,\nb,1,x\n",
			[]record{{2, "a", `{"id":"a","n":null,"t":null}`}, {3, "b", `{"id":"b","n":1,"t":"x"}`}},
		},
		"null in some columns": {
			`{"csv_null":"NULL","csv_null_columns":["n"],"csv_numbers":"n"}`, "", "id,n,t\nNULL,NULL,NULL\n",
			[]record{{2, "NULL", `{"id":"NULL","n":null,"t":"NULL"}`}},
		},
		"the key is a number":                     {`{"csv_numbers":"id"}`, dataset.NumbersPlain, "id\n7\n", []record{{2, "7", `{"id":7}`}}},
		"the key is a number in another spelling": {`{"csv_numbers":"id"}`, dataset.NumbersInteger, "id\n7.0\n", []record{{2, "7", `{"id":7.0}`}}},
		"semicolons":                              {`{"csv_delimiter":";"}`, "", "id;v\na;\"x;y\"\n\"b\";1,5\n", []record{{2, "a", `{"id":"a","v":"x;y"}`}, {3, "b", `{"id":"b","v":"1,5"}`}}},
		"tabs":                                    {`{"csv_delimiter":"tab"}`, "", "id\tv\na\t1\n", []record{{2, "a", `{"id":"a","v":"1"}`}}},
		"a tab":                                   {`{"csv_delimiter":"\t"}`, "", "id\tv\na\t1\n", []record{{2, "a", `{"id":"a","v":"1"}`}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readKey(t.Context(), strings.NewReader(c.text), csv, input.Key{Members: []string{"id"}, Numbers: c.numbers}, input.Rules(rules(t, c.settings)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A removal needs its key alone: other fields are empty.
func TestTypesOfRemovals(t *testing.T) {
	const settings = `{"csv_numbers":["id","n"],"csv_booleans":"b"}`
	for _, text := range []string{"id,n,b,$remove\n7,,,true\n8,1,t,\n", "$remove,b,n,id\n1,,,7\n,t,1,8\n"} {
		got, err := readKey(t.Context(), strings.NewReader(text), csv, input.Key{Members: []string{"id"}, Numbers: dataset.NumbersPlain},
			input.Rules(rules(t, settings)), input.Removals(remove, false))
		if err != nil || len(got) != 2 || got[0].Key != "7" || got[0].Value != "" || got[1].Key != "8" || got[1].Value == "" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for text, want := range map[string]string{
		"id,$remove\n7,true\n":        "", // a patch may lack the columns of other values
		"id,n,$remove\n7,,\n":         `the field in column "n" is ""`,
		"id,n,$remove\n07,,true\n":    `the field in column "id" is "07"`,
		"id,t,$remove\n7,\xff,true\n": `the field in column "t" is not UTF-8`,
	} {
		_, err := readKey(t.Context(), strings.NewReader(text), csv, input.Member("id"), input.Rules(rules(t, settings)), input.Removals(remove, false))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestRefusedTypes(t *testing.T) {
	held := input.Types{Numbers: []string{"cents", "sku", "it's"}, Booleans: []string{"sold"}}
	for name, c := range map[string]struct {
		settings string
		text     string
		line     int
		want     string
	}{
		"a text":                     {`{"csv_numbers":"n"}`, "id,n\na,1\nb,x\n", 3, `the field in column "n" is "x", which is no JSON number`},
		"leading zeros":              {`{"csv_numbers":"n"}`, "id,n\na,007\n", 2, "without blanks, a plus sign, leading zeros"},
		"a decimal comma":            {`{"csv_numbers":"n"}`, "id,n\na,\"1,5\"\n", 2, "no JSON number"},
		"blanks":                     {`{"csv_numbers":"n"}`, "id,n\na, 1\n", 2, "no JSON number"},
		"no number":                  {`{"csv_numbers":"n"}`, "id,n\na,NaN\n", 2, "no JSON number"},
		"empty":                      {`{"csv_numbers":"n"}`, "id,n\na,\n", 2, `freshet settings DATASET --set 'csv_null=""' --reason TEXT`},
		"empty, another null":        {`{"csv_numbers":"n","csv_null":"NULL"}`, "id,n\na,\n", 2, "take the column out of the setting csv_numbers"},
		"no boolean":                 {`{"csv_booleans":"b"}`, "id,b\na,yes\n", 2, `the field in column "b" is "yes", which is no boolean; write true or false; or take the column out of the setting csv_booleans`},
		"an empty key":               {`{"csv_numbers":"id"}`, "id\n\"\"\n", 2, `the field in column "id" is ""`},
		"no such column":             {`{"csv_numbers":"m"}`, "id,n\na,1\n", 1, `the header has no column "m", which the setting csv_numbers names`},
		"no such column of booleans": {`{"csv_booleans":"m"}`, "id,n\na,1\n", 1, "which the setting csv_booleans names"},
		"numbers of the dataset": {
			`{}`, "\nsold,cents,sku,it's,id\n1,2,3,4,5\n", 2,
			`the columns ["cents","sku","it's"] would turn numbers of the dataset into strings, and the columns ["sold"] would turn booleans of the dataset into strings; name their types: ` +
				`freshet settings DATASET --set 'csv_numbers=["cents","sku","it'\''s"]' --set 'csv_booleans=["sold"]' --reason TEXT`,
		},
		"only the booleans":   {`{"csv_numbers":["cents","sku","id"]}`, "sold,cents,sku,id\n1,2,3,4\n", 1, "--set 'csv_booleans=[\"sold\"]'"},
		"decided":             {`{"csv_numbers":[],"csv_booleans":"sold"}`, "sold,cents,id\n1,2,3\n", 0, ""},
		"another delimiter":   {`{"csv_delimiter":";"}`, "id,n\na,1\n", 1, `separate columns by ';', or set the delimiter: freshet settings DATASET --set 'csv_delimiter=,' --reason TEXT`},
		"tabs":                {`{}`, "id\tn\na\t1\n", 1, `--set 'csv_delimiter=tab'`},
		"many of a delimiter": {`{"csv_delimiter":";"}`, "id;v\na" + strings.Repeat(";", 20_000) + "\n", 2, "more than 16384 fields"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readKey(t.Context(), strings.NewReader(c.text), csv, input.Member("id"), input.Rules(rules(t, c.settings)), input.Held(held), input.NoRemovals(remove))
			if c.line == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if r, ok := errors.AsType[*input.Refusal](err); !ok || r.Line != c.line || !strings.Contains(r.Problem+"; "+r.Hint, c.want) {
				t.Errorf("%v; want line %d, %q", err, c.line, c.want)
			}
		})
	}
}

// FuzzTypedCSV compares typed rows with what encoding/csv and encoding/json make of them.
func FuzzTypedCSV(f *testing.F) {
	f.Add("a", "1", "true", "x")
	f.Add("a:b", "-1.5e3", "f", "")
	f.Add("~", "01", "yes", "NULL")
	f.Add("a", "NULL", "NULL", "\"")
	f.Fuzz(func(t *testing.T, id, n, b, text string) {
		var in bytes.Buffer
		w := stdcsv.NewWriter(&in)
		w.Comma = ';'
		if w.Write([]string{"id", "n", "b", "t"}) != nil || w.Write([]string{id, n, b, text}) != nil {
			t.Fatal("not written")
		}
		w.Flush()
		got, err := readKey(t.Context(), bytes.NewReader(in.Bytes()), csv, input.Member("id"),
			input.Rules(rules(t, `{"csv_delimiter":";","csv_numbers":"n","csv_booleans":"b","csv_null":"NULL"}`)))
		number := jsontext.Value(n)
		isNumber := n == "NULL" || number.IsValid() && number.Kind() == jsontext.KindNumber && strings.TrimSpace(n) == n
		boolean, isBoolean := map[string]any{"true": true, "t": true, "1": true, "false": false, "f": false, "0": false, "null": nil}[strings.ToLower(b)]
		isBoolean = isBoolean && (boolean != nil || b == "NULL")
		whole := utf8.ValidString(id+n+b+text) && !strings.Contains(id+text, "\ufeff") && !strings.Contains(id+n+b+text, "\r")
		if !whole || id == "" || len(id) > dataset.MaxKeyBytes || id == "id" && n == "n" && b == "b" && text == "t" {
			return // see the other tests
		}
		if isNumber && isBoolean != (err == nil) || !isNumber && err == nil {
			t.Fatalf("%q: %+v, %v", in.String(), got, err)
		}
		if err != nil {
			return
		}
		want := map[string]any{"id": id, "n": json.Number(n), "b": boolean, "t": text}
		for _, name := range []string{"n", "t"} {
			if want[name] == "NULL" || want[name] == json.Number("NULL") {
				want[name] = nil
			}
		}
		d := json.NewDecoder(strings.NewReader(got[0].Value))
		d.UseNumber()
		var value map[string]any
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, value); diff != "" || got[0].Key != id {
			t.Fatal(got[0].Key, diff)
		}
	})
}
