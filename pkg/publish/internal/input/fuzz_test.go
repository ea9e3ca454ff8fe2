package input_test

import (
	"bytes"
	stdcsv "encoding/csv"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/input"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// object reads text, which may have blanks around it, as one record in the plainest way there is.
func object(text []byte) (record, bool) {
	text = bytes.Trim(text, " \t\r\n")
	if !jsontext.Value(text).IsValid() || text[0] != '{' {
		return record{}, false
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return record{}, false
	}
	raw := members["id"]
	key := string(raw)
	switch {
	case raw == nil:
		return record{}, false
	case raw[0] == '"':
		if err := json.Unmarshal(raw, &key); err != nil {
			return record{}, false
		}
	case raw[0] != '-' && (raw[0] < '0' || raw[0] > '9'):
		return record{}, false
	}
	r := dataset.Record{Key: []byte(key), Value: text}
	return record{Key: key, Value: string(text)}, r.Check() == nil
}

// compare fails unless the input is read as want, or refused with a line that is in it if ok is false.
func compare(t *testing.T, text []byte, f format, want []record, ok bool) {
	t.Helper()
	got, err := read(t.Context(), bytes.NewReader(text), f, "id")
	if err != nil {
		r, is := errors.AsType[*input.Refusal](err)
		if !is || ok {
			t.Fatalf("error is %v; valid is %v", err, ok)
		}
		if r.Line < 1 || r.Line > bytes.Count(text, []byte("\n"))+1 {
			t.Fatalf("refused for line %d, which is not there: %v", r.Line, r)
		}
		return
	}
	if !ok {
		t.Fatalf("accepted, but not valid")
	}
	for i := range got {
		got[i].Line = 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// plain reports whether NewStream leaves text as it is.
func plain(text []byte) bool {
	for _, magic := range []string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "\xef\xbb\xbf", "\xff\xfe", "\xfe\xff", "BZh", "\xfd7zXZ", "PK\x03\x04"} {
		if bytes.HasPrefix(text, []byte(magic)) {
			return false
		}
	}
	return len(text) < 4 || !bytes.Equal(text[1:4], []byte{0x2a, 0x4d, 0x18})
}

func FuzzNDJSON(f *testing.F) {
	f.Add([]byte(`{"id":"a"}` + "\n\r\n" + `{"v":[1,{"x":null}],"id":-1.5e3}` + "\r\n"))
	f.Add([]byte(`{"id":"\ud83d\ude00","\u0069d":1}`))
	f.Add([]byte("{\"id\":\"a\xff\"}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !plain(text) {
			return
		}
		var want []record
		ok := true
		for _, line := range bytes.Split(text, []byte("\n")) {
			if len(bytes.Trim(line, " \t\r")) == 0 {
				continue
			}
			r, valid := object(line)
			want, ok = append(want, r), ok && valid
		}
		compare(t, text, ndjson, want, ok)
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte("[\n{\"id\":\"a]\\\"\"},\n{\"id\":1,\"v\":[[],{}]}]"))
	f.Add([]byte(`[{"id":"a"},]`))
	f.Add([]byte(`[{"id":"a"}{"id":"b"}] []`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !plain(text) || len(bytes.Trim(text, " \t\r\n")) == 0 {
			return
		}
		var want []record
		ok := jsontext.Value(text).IsValid()
		if ok {
			var elements []json.RawMessage
			ok = json.Unmarshal(text, &elements) == nil && elements != nil
			for _, e := range elements {
				r, valid := object(e)
				want, ok = append(want, r), ok && valid
			}
		}
		compare(t, text, array, want, ok)
	})
}

// kept doubles the CR of each CR LF in quotes, so that encoding/csv keeps the CR LF.
func kept(text []byte) (out []byte) {
	quoted := false
	for i, c := range text {
		out = append(out, c)
		if c == '"' {
			quoted = !quoted
		} else if quoted && bytes.HasPrefix(text[i:], []byte("\r\n")) {
			out = append(out, c)
		}
	}
	return out
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("id,v\na,1\n\n\"b\nc\",\"\"\"\"\r\n"))
	f.Add([]byte("id,v\r\na,\"\r\n\r\r\n\"\r\n\ufeffid,v\r\n"))
	f.Add([]byte("id\na\nid\n\"\ufeff\"\n"))
	f.Add([]byte("v,id\n1,2,3"))
	f.Add([]byte("id,v\n1,\"x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !plain(text) {
			return
		}
		r := stdcsv.NewReader(bytes.NewReader(kept(text)))
		rows, err := r.ReadAll()
		var want []record
		ok := err == nil && utf8.Valid(text)
		if ok && len(rows) > 0 {
			header := rows[0]
			key := slices.Index(header, "id")
			sorted := slices.Sorted(slices.Values(header))
			ok = key >= 0 && len(slices.Compact(sorted)) == len(header)
			for _, row := range rows[1:] {
				joined := strings.HasPrefix(row[0], "\ufeff") || len(row) == 1 && strings.HasSuffix(row[0], "\ufeff"+header[0])
				if ok = ok && !joined && !slices.Equal(row, header); !ok {
					break
				}
				var value bytes.Buffer
				e := jsontext.NewEncoder(&value)
				tokens := []jsontext.Token{jsontext.BeginObject}
				for i, field := range row {
					tokens = append(tokens, jsontext.String(header[i]), jsontext.String(field))
				}
				for _, token := range append(tokens, jsontext.EndObject) {
					if err := e.WriteToken(token); err != nil {
						t.Fatal(err)
					}
				}
				r := record{Key: row[key], Value: strings.TrimSuffix(value.String(), "\n")}
				want = append(want, r)
				ok = dataset.Record{Key: []byte(r.Key), Value: []byte(r.Value)}.Check() == nil
			}
		}
		compare(t, text, csv, want, ok)
	})
}

// Anything at all, compressed or not, is read or refused.
func FuzzDetected(f *testing.F) {
	for _, packed := range packings {
		f.Add(packed(`{"id":"a"}` + "\n"))
		f.Add(packed(` [{"id":"a"}]`))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := read(t.Context(), bytes.NewReader(text), detected, "id")
		if _, ok := errors.AsType[*input.Refusal](err); err != nil && !ok {
			t.Fatal(err)
		}
	})
}
