package ndjson_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/publish/ndjson"
	"freshet.dev/pkg/store/storeurl"
)

func record(key, value string) dataset.Record {
	return dataset.Record{Key: []byte(key), Value: []byte(value)}
}

func TestRecordsThatAPublishReadsBack(t *testing.T) {
	for name, c := range map[string]struct {
		member  string
		records []dataset.Record
		found   string
	}{
		"named":            {"sku", []dataset.Record{record("A1", `{"sku":"A1","cents":1}`), record("B2", `{"cents": 2,  "sku":"B2"}`)}, "sku"},
		"found":            {"", []dataset.Record{record("A1", `{"x":"B","sku":"A1"}`), record("B2", `{"sku":"B2"}`)}, "sku"},
		"found by another": {"", []dataset.Record{record("A1", `{"name":"A1","sku":"A1"}`), record("B2", `{"name":"b","sku":"B2"}`)}, "sku"},
		"number":           {"", []dataset.Record{record("17", `{"x":"17.0","id":17}`), record("1.50", `{"id":1.50}`)}, "id"},
		"escapes":          {"", []dataset.Record{record("a/é\n", `{"k\u0065y":"a\/\u00e9\n"}`)}, "key"},
		"carriage return":  {"id", []dataset.Record{record("a", "{\"id\":\"a\",\r\t\"b\":1}")}, "id"},
		"not a removal":    {"id", []dataset.Record{record("a", `{"id":"a","$remove":false}`)}, "id"},
	} {
		t.Run(name, func(t *testing.T) {
			e := ndjson.NewEncoder(keyed(c.member))
			var text []byte
			want := map[string]string{}
			for _, r := range c.records {
				var err error
				if text, err = e.Append(text, r); err != nil {
					t.Fatal(err)
				}
				want[string(r.Key)] = string(r.Value)
			}
			if strings.Join(e.Key(), ",") != c.found {
				t.Errorf("the key member is %q, want %q", strings.Join(e.Key(), ","), c.found)
			}
			if got := published(t, text, strings.Join(e.Key(), ",")); !maps.Equal(got, want) {
				t.Errorf("published %q, want %q", got, want)
			}
		})
	}
}

// keyed returns the rules with the key in a member; no rules if it is empty.
func keyed(member string) (rules dataset.InputRules) {
	if member != "" {
		rules.Key = dataset.Names{member}
	}
	return rules
}

// published publishes the text and reads the version.
func published(t *testing.T, text []byte, key string) map[string]string {
	t.Helper()
	st, err := storeurl.Open(t.Context(), "dir://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	p, err := publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), "prices", publish.Input{Body: bytes.NewReader(text), Key: key}); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	v, err := history.New(history.Config{}, st).Open(t.Context(), "prices", 0)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for r, err := range v.Records(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		got[string(r.Key)] = string(r.Value)
	}
	return got
}

func TestRecordsThatAPublishWouldNotReadBack(t *testing.T) {
	good := record("A1", `{"sku":"A1"}`)
	for name, c := range map[string]struct {
		member  string
		records []dataset.Record
		want    string // in the error about the last record
	}{
		"empty":                 {"sku", []dataset.Record{record("A1", "")}, "no JSON object"},
		"text":                  {"", []dataset.Record{record("A1", "5")}, "no JSON object"},
		"array":                 {"", []dataset.Record{record("A1", `["A1"]`)}, "no JSON object"},
		"blanks around":         {"sku", []dataset.Record{record("A1", ` {"sku":"A1"}`)}, "no JSON object"},
		"line end":              {"sku", []dataset.Record{record("A1", "{\n\"sku\":\"A1\"}")}, "line end"},
		"not JSON":              {"sku", []dataset.Record{record("A1", `{"sku":"A1",}`)}, "not JSON"},
		"not UTF-8":             {"sku", []dataset.Record{record("A1", "{\"sku\":\"A1\",\"x\":\"\xff\"}")}, "UTF-8"},
		"two objects":           {"sku", []dataset.Record{record("A1", `{"sku":"A1"}{}`)}, "follows"},
		"member twice":          {"sku", []dataset.Record{record("A1", `{"sku":"A1","x":1,"x":2}`)}, "stands twice"},
		"removal":               {"sku", []dataset.Record{record("A1", `{"sku":"A1","$remove":true}`)}, `"$remove"`},
		"another key":           {"sku", []dataset.Record{good, record("B2", `{"sku":"A1"}`)}, `its member "sku" holds "A1"`},
		"no such member":        {"sku", []dataset.Record{good, record("B2", `{"id":"B2"}`)}, `has no member "sku"`},
		"another spelling":      {"id", []dataset.Record{record("1", `{"id":1.0}`)}, `holds "1.0"`},
		"no member":             {"", []dataset.Record{record("A1", `{"sku":"a1"}`)}, "no member of its value holds its key"},
		"other members":         {"", []dataset.Record{good, record("B2", `{"sku":"b","id":"B2"}`)}, `its member "sku" holds "b"`},
		"object that is no key": {"", []dataset.Record{record("{}", `{"sku":{}}`)}, "no member of its value holds its key"},
		"removed":               {"sku", []dataset.Record{{Key: []byte("A1"), Removed: true}}, "removal"},
	} {
		t.Run(name, func(t *testing.T) {
			e := ndjson.NewEncoder(keyed(c.member))
			var text []byte
			var err error
			for i, r := range c.records {
				before := string(text)
				text, err = e.Append(text, r)
				if last := i == len(c.records)-1; last != (err != nil) {
					t.Fatalf("record %d: error is %v", i+1, err)
				} else if last && string(text) != before {
					t.Errorf("a refused record was written: %q", text)
				}
			}
			refused, ok := errors.AsType[*ndjson.RecordError](err)
			if !ok || !errors.Is(err, ndjson.ErrRecord) || !bytes.Equal(refused.Key, c.records[len(c.records)-1].Key) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

// Invariant: what an Encoder accepts, a publish reads back, byte for byte, whatever the values are.
func TestAcceptedRecordsAreReadBack(t *testing.T) {
	value := rapid.SampledFrom([]string{
		`{"id":"%s"}`, `{"id":%s}`, "{ \"id\" :\t\"%s\" }", `{"x":[{"id":1}],"id":"%s"}`, `{"\u0069d":"%s"}`, `{"id":"%s","id2":"%[1]s"}`, `{"id":"%s",}`,
		`{"id":"%s"} `, "{\"id\":\"%s\"}\r", `{"id":null,"key":"%s"}`, `{"id":"%s","$remove":true}`, `{}`, "\ufeff{\"id\":\"%s\"}",
	})
	rapid.Check(t, func(rt *rapid.T) {
		e := ndjson.NewEncoder(keyed(rapid.SampledFrom([]string{"", "id"}).Draw(rt, "member")))
		want := map[string]string{}
		var text []byte
		for i := range rapid.IntRange(1, 6).Draw(rt, "records") {
			key := rapid.SampledFrom([]string{fmt.Sprint(i), fmt.Sprint("k", i), fmt.Sprintf("-%d.50", i)}).Draw(rt, "key")
			form := value.Draw(rt, "value")
			text0 := strings.ReplaceAll(strings.ReplaceAll(form, "%[1]s", key), "%s", key)
			var err error
			if text, err = e.Append(text, record(key, text0)); err == nil {
				want[key] = text0
			} else if !errors.Is(err, ndjson.ErrRecord) {
				rt.Fatal(err)
			}
		}
		if len(want) == 0 {
			return
		}
		if got := published(t, text, strings.Join(e.Key(), ",")); !maps.Equal(got, want) {
			rt.Fatalf("published %q with key %q, want %q", got, strings.Join(e.Key(), ","), want)
		}
	})
}
