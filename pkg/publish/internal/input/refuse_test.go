package input_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/publish/internal/input"
)

func TestRefused(t *testing.T) {
	good := `{"id":"a"}` + "\n"
	big := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		format format
		text   string
		line   int
		key    string
		want   string // of problem and hint
	}{
		"broken line":               {ndjson, good + `{"id":"b",}` + "\n" + good, 2, "", "it is not JSON: invalid character ',' at start of value at byte 10 of the record"},
		"cut line":                  {ndjson, good + `{"id":"b`, 2, "", "ends within its JSON object"},
		"object over lines":         {ndjson, "{\n\"id\":\"a\"\n}", 1, "", "put each object on one line"},
		"two objects on a line":     {ndjson, good + `{"id":"b"}{"id":"c"}`, 2, "", "something follows the JSON object"},
		"lone CR as line end":       {ndjson, "{\"id\":\"b\"}\r{\"id\":\"c\"}", 1, "", "something follows the JSON object"},
		"not an object":             {ndjson, good + `"x"`, 2, "", "the record is no JSON object"},
		"array as ndjson":           {ndjson, `[{"id":"a"}]`, 1, "", "name the format json"},
		"name twice":                {ndjson, good + `{"id":"b","v":1,"v":2}`, 2, "", `the member "v" stands twice`},
		"name twice, deep":          {ndjson, good + `{"id":"b","o":[{"é":1,"\u00e9":2}]}`, 2, "", `the member "é" stands twice`},
		"key twice":                 {ndjson, `{"id":"b","id":"b"}`, 1, "", `the member "id" stands twice`},
		"invalid UTF-8":             {ndjson, good + "{\"id\":\"b\xff\"}", 2, "", "invalid UTF-8"},
		"lone surrogate":            {ndjson, `{"id":"\ud800"}`, 1, "", "it is not JSON"},
		"control character":         {ndjson, "{\"id\":\"a\x01\"}", 1, "", "it is not JSON"},
		"NaN":                       {ndjson, `{"id":"a","v":NaN}`, 1, "", "it is not JSON"},
		"no key member":             {ndjson, good + `{"name":"x","v":1}`, 2, "", `no member "id", which was named as the key; name a member that every record has: this one has "name", "v"`},
		"empty object":              {ndjson, `{}`, 1, "", `no member "id"`},
		"null key":                  {ndjson, `{"id":null}`, 1, "", `the key member "id" is null`},
		"bool key":                  {ndjson, `{"id":true}`, 1, "", `the key member "id" is true`},
		"object key":                {ndjson, `{"id":{"a":1}}`, 1, "", `the key member "id" is an object`},
		"array key":                 {ndjson, `{"id":["a"]}`, 1, "", `the key member "id" is an array`},
		"empty key":                 {ndjson, good + `{"id":""}`, 2, "", `the key, "id", is empty`},
		"long key":                  {ndjson, `{"id":"` + big[:1025] + `"}`, 1, big[:32] + "...", "the key has 1025 bytes, the most is 1024"},
		"large record":              {ndjson, good + `{"id":"b","v":"` + big + `"}` + "\n", 2, "b", "the record has 1048593 bytes, the most is 1048576"},
		"line without end":          {ndjson, good + `{"id":"b","v":"` + big + big + big, 2, "", "has more than 1048576 bytes"},
		"ndjson as array":           {array, good + good, 1, "", "name the format ndjson"},
		"array, no comma":           {array, "[" + good + good + "]", 2, "", "after element 1 of the array comes '{'"},
		"array, comma at end":       {array, "[" + good + ",\n]", 3, "", "the array ends with a comma"},
		"array, two commas":         {array, "[" + good + ",\n," + good + "]", 3, "", "element 2 of the array is no object"},
		"array, number":             {array, "[" + good + ",7]", 2, "", "element 2 of the array is no object: it begins with '7'"},
		"array, nested":             {array, "[[" + good + "]]", 1, "", "element 1 of the array is no object: it begins with '['"},
		"array, more after":         {array, "[" + good + "]\n\n[]", 4, "", "after the end of the array comes '['"},
		"array, cut after element":  {array, "[" + good + "\n", 3, "", "ends after element 1"},
		"array, cut in element":     {array, "[\n" + good + ",{\"id\":\"b\",\n\"v\":\"x", 4, "", "within element 2 of the array, which begins on line 3"},
		"array, error on its line":  {array, "[\n" + good + ",{\"id\":\"b\",\n\n\"v\":01}]", 5, "", "it is not JSON"},
		"array, brackets swapped":   {array, "[\n{\"id\":\"b\",\"v\":[1}}\n]", 2, "", "it is not JSON"},
		"array, element too large":  {array, "[" + good + ",{\"id\":\"b\",\"v\":\"" + big + `"}]`, 2, "b", "the record has 1048593 bytes"},
		"array, element of any end": {array, "[" + good + ",{\"id\":\"b\",\"v\":\"" + big + big + big, 2, "", "has more than 1048576 bytes"},
		"array, missing key":        {array, "[\n\n{\n}]", 3, "", `no member "id"`},
		"unknown format":            {detected, "id,v\n1,2\n", 1, "", "name its format if it is csv"},
		"utf-16":                    {detected, "\xff\xfe{\x00", 1, "", "convert it to UTF-8"},
		"bzip2":                     {detected, "BZh91AY&SY", 1, "", "compressed in a way that is not read"},
		"csv, no key column":        {csv, "a,b\n1,2\n", 1, "", `the header has no column "id", which was named as the key; its columns are "a", "b"`},
		"csv, semicolons":           {csv, "id;b\n1;2\n", 1, "", "--set 'csv_delimiter=;' --reason TEXT"},
		"csv, column twice":         {csv, "id,a,id\n1,2,3\n", 1, "", `the column "id" twice`},
		"csv, too few fields":       {csv, "id,a,b\n1,2,3\n\nx,\"y\nz\"\n", 4, "x", "the row has 2 fields, the header 3"},
		"csv, too many fields":      {csv, "id,a\n1,\"2\n\n3\"\n4,5,6\n", 5, "4", "the row has 3 fields, the header 2"},
		"csv, quote in a field":     {csv, "id,a\n1,2\n3,x\"y\n", 3, "", "it is not CSV"},
		"csv, header again":         {csv, "id,v\na,1\nid,v\nb,2\n", 3, "", "the row is the header again"},
		"csv, byte order mark":      {csv, "id,v\na,1\n\ufeffid,v\nb,2\n", 3, "", "a byte order mark stands at the start of a line within the file"},
		"csv, mark after a field":   {csv, "id\na\ufeffid\nb\n", 2, "", "the row is the header again"},
		"csv, mark, quoted header":  {csv, "id,v\n\na,\"1\n2\"\n\ufeff\"id\",\"v\"\n", 5, "", "a byte order mark stands at the start of a line within the file"},
		"csv, open quote":           {csv, "id,a\n1,2\n3,\"x\n4,5\n", 4, "", "in the row that begins on line 3"},
		"csv, endless row":          {csv, "id,a\n1,\"2\n2\"\n3,\"" + big + big + big, 4, "", "a quote (\") that is not closed"},
		"csv, large record":         {csv, "id,a\n1,2\n3," + big + "\n", 3, "3", "the record has 1048593 bytes"},
		"csv, invalid UTF-8":        {csv, "id,a\n1,2\n3,\xe9\n", 3, "", `the field in column "a" is not UTF-8`},
		"csv, invalid UTF-8 header": {csv, "id,\xe9\n1,2\n", 1, "", "the name of column 2 is not UTF-8"},
		"csv, empty key":            {csv, "id,a\n1,2\n,3\n", 3, "", `the key, "id", is empty`},
		"csv, long key":             {csv, "id,a\n" + big[:1025] + ",3\n", 2, big[:32] + "...", "the most is 1024"},
		"csv, header not closed":    {csv, "id,\"a\n1,2\n", 2, "", "it is not CSV"},
	} {
		t.Run(name, func(t *testing.T) {
			for packing, packed := range packings {
				if packing != "plain" && (c.text[0] >= 0x80 || c.text[0] == 'B') {
					continue // these are told by how the input begins
				}
				_, err := read(t.Context(), bytes.NewReader(packed(c.text)), c.format, "id")
				r, ok := errors.AsType[*input.Refusal](err)
				if !ok {
					t.Fatalf("%s: error is %v, want a Refusal", packing, err)
				}
				if r.Line != c.line || r.Key != c.key || !strings.Contains(r.Problem+"; "+r.Hint, c.want) {
					t.Fatalf("%s: refused with %v\nwant line %d, key %q, %q", packing, r, c.line, c.key, c.want)
				}
			}
		})
	}
}

// A compressed input that is cut short anywhere is refused as such, and not accepted as a shorter one.
func TestCutAndDamagedCompression(t *testing.T) {
	text := strings.Repeat(`{"id":"a","v":[1,2,3]}`+"\n", 2000)
	for _, packing := range []string{"gzip", "zstd"} {
		packed := packings[packing](text)
		for _, keep := range []int{4, 10, len(packed) / 2, len(packed) - 5, len(packed) - 1} {
			_, err := read(t.Context(), bytes.NewReader(packed[:keep]), ndjson, "id")
			if r, ok := errors.AsType[*input.Refusal](err); !ok || !strings.Contains(r.Problem, "the "+packing+" data is cut short") {
				t.Errorf("%s, %d of %d bytes: error is %v", packing, keep, len(packed), err)
			}
		}
		damaged := bytes.Clone(packed)
		damaged[len(damaged)-2] ^= 0x10 // in the checksum or size at the end
		_, err := read(t.Context(), bytes.NewReader(damaged), ndjson, "id")
		if r, ok := errors.AsType[*input.Refusal](err); !ok || !strings.Contains(r.Problem, "is damaged") || r.Line == 0 {
			t.Errorf("%s: error is %v", packing, err)
		}
		_, err = read(t.Context(), bytes.NewReader(append(bytes.Clone(packed), "garbage, garbage"...)), ndjson, "id")
		if r, ok := errors.AsType[*input.Refusal](err); !ok || !strings.Contains(r.Problem, "is damaged") {
			t.Errorf("%s with garbage after it: error is %v", packing, err)
		}
	}
}
