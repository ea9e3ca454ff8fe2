package input_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		format format
		text   string
		want   []record
	}{
		"ndjson": {ndjson, `{"id":"a","v":1}` + "\n" + `{"v":2,"id":"b"}` + "\n", []record{{1, "a", `{"id":"a","v":1}`}, {2, "b", `{"v":2,"id":"b"}`}}},
		"ndjson, CRLF, blank lines, no last line end": {
			ndjson, "\r\n{\"id\":\"a\"}\r\n \t\r\n\n  {\"id\" : \"b\"} \r\n{\"id\":\"c\"}",
			[]record{{2, "a", `{"id":"a"}`}, {5, "b", `{"id" : "b"}`}, {6, "c", `{"id":"c"}`}},
		},
		"detected as ndjson":         {detected, "\n\n" + `{"id":"a"}`, []record{{3, "a", `{"id":"a"}`}}},
		"detected as array":          {detected, "\n [\n" + `{"id":"a"}]`, []record{{3, "a", `{"id":"a"}`}}},
		"nothing":                    {detected, "", nil},
		"nothing but blanks, ndjson": {ndjson, " \n\t\r\n", nil},
		"nothing but blanks, array":  {array, " \n", nil},
		"empty array":                {array, " [ \n] \n", nil},
		"array over many lines": {
			array, "[\n  {\n    \"id\": \"a\",\n    \"v\": [1, {\"x\": \"]}\\\"\"}]\n  },\n\n  {\"id\":\"b\"}\n,{\"id\":\"c\"}]\n\n",
			[]record{{2, "a", "{\n    \"id\": \"a\",\n    \"v\": [1, {\"x\": \"]}\\\"\"}]\n  }"}, {7, "b", `{"id":"b"}`}, {8, "c", `{"id":"c"}`}},
		},
		"numbers as keys": {
			ndjson, `{"id":7}` + "\n" + `{"id":7.0}` + "\n" + `{"id":-1e3}`,
			[]record{{1, "7", `{"id":7}`}, {2, "7.0", `{"id":7.0}`}, {3, "-1e3", `{"id":-1e3}`}},
		},
		"escapes in key and name": {
			ndjson, `{"\u0069d":"\u00e9\n\ud83d\ude00"}`,
			[]record{{1, "é\n😀", `{"\u0069d":"\u00e9\n\ud83d\ude00"}`}},
		},
		"a member of a member is not the key": {ndjson, `{"o":{"id":"no"},"id":"yes"}`, []record{{1, "yes", `{"o":{"id":"no"},"id":"yes"}`}}},
		"csv":                                 {csv, "id,v\na,1\nb,\n", []record{{2, "a", `{"id":"a","v":"1"}`}, {3, "b", `{"id":"b","v":""}`}}},
		"csv, mark in a field":                {csv, "v,id\nx\ufeffy,\ufeffa\n", []record{{2, "\ufeffa", "{\"v\":\"x\ufeffy\",\"id\":\"\ufeffa\"}"}}},
		"csv, marks in quotes":                {csv, "id,v\na,\"\ufeffx\"\n", []record{{2, "a", "{\"id\":\"a\",\"v\":\"\ufeffx\"}"}}},
		"csv, CRLF, quotes, empty lines, key in the middle": {
			csv, "v,id,w\r\n\"say \"\"so\"\"\",a,\"x,y\"\r\n\r\n\"two\r\nlines\",b,\"\"\r\nlast,c,é\t",
			[]record{
				{2, "a", `{"v":"say \"so\"","id":"a","w":"x,y"}`},
				{4, "b", `{"v":"two\r\nlines","id":"b","w":""}`},
				{6, "c", `{"v":"last","id":"c","w":"é\t"}`},
			},
		},
		"csv, line ends within quotes": {
			csv, "id,v\r\na,\"\r\n\r\r\n\n\r\"\r\nb,\"\"\"\r\n\"\"\"\r\n",
			[]record{{2, "a", `{"id":"a","v":"\r\n\r\r\n\n\r"}`}, {6, "b", `{"id":"b","v":"\"\r\n\""}`}},
		},
		"csv with a header that needs quotes": {csv, "id,\"a \"\"b\"\"\"\n1,2\n", []record{{2, "1", `{"id":"1","a \"b\"":"2"}`}}},
		"csv, header only":                    {csv, "id,v\n", nil},
		"csv, nothing":                        {csv, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for packing, packed := range packings {
				for i, r := range []io.Reader{
					bytes.NewReader(packed(c.text)),
					iotest.OneByteReader(bytes.NewReader(packed(c.text))),
					iotest.DataErrReader(bytes.NewReader(packed(c.text))),
				} {
					got, err := read(t.Context(), r, c.format, "id")
					if err != nil {
						t.Fatalf("%s, reader %d: %v", packing, i, err)
					}
					if diff := cmp.Diff(c.want, got); diff != "" {
						t.Fatalf("%s, reader %d: %s", packing, i, diff)
					}
				}
			}
		})
	}
}

// Records of all sizes up to the largest lie across the ends of batches in every way.
func TestAcrossBatches(t *testing.T) {
	const largest = 1<<20 - len(`{"id":"00000","v":""}`)
	var want []record
	texts := map[format]*strings.Builder{ndjson: {}, array: {}, csv: {}}
	texts[array].WriteString("[\n")
	texts[csv].WriteString("id,v\n")
	for i, total := 0, 0; total < 6<<20; i++ {
		size := i * 37 % 5000
		switch {
		case i%1000 == 999:
			size = largest
		case i%100 == 99:
			size = 100_000
		}
		v := strings.Repeat("{x]", size/3+1)[:size]
		r := record{i + 1, fmt.Sprintf("%05d", i), fmt.Sprintf(`{"id":"%05d","v":"%s"}`, i, v)}
		want = append(want, r)
		total += len(r.Value)
		texts[ndjson].WriteString(r.Value + "\n")
		if i > 0 {
			texts[array].WriteString(",\n")
		}
		texts[array].WriteString(r.Value)
		fmt.Fprintf(texts[csv], "%s,%s\n", r.Key, v)
	}
	texts[array].WriteString("]")
	for f, text := range texts {
		t.Run(string(f), func(t *testing.T) {
			got, err := read(t.Context(), strings.NewReader(text.String()), f, "id")
			if err != nil || len(got) != len(want) {
				t.Fatalf("%d of %d records: %v", len(got), len(want), err)
			}
			for i, w := range want {
				if f != ndjson {
					w.Line++ // the bracket or the header is line 1
				}
				if got[i] != w {
					t.Fatalf("record %d is line %d, key %q, %d bytes; want line %d, key %q, %d bytes", i,
						got[i].Line, got[i].Key, len(got[i].Value), w.Line, w.Key, len(w.Value))
				}
			}
		})
	}
}
