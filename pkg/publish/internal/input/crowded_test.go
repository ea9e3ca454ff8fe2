package input_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"freshet.dev/pkg/publish/internal/input"
)

// Rows whose names of columns are long, or whose fields are many and empty, fill a batch like text does.
func TestBatchesOfWideRows(t *testing.T) {
	var columns strings.Builder
	for i := range 200 {
		fmt.Fprintf(&columns, ",c%d", i)
	}
	for name, c := range map[string]struct {
		text string
		most int // rows of a batch
	}{
		"many empty columns": {"id" + columns.String() + "\n" + strings.Repeat("a"+strings.Repeat(",", 200)+"\n", 5000), 160},
		"a long name":        {"id," + strings.Repeat("n", 200_000) + "\n" + strings.Repeat("a,\n", 100), 2},
	} {
		src, err := input.NewCSV(strings.NewReader(c.text), input.Member("id"))
		if err != nil {
			t.Fatal(err)
		}
		var b input.Batch
		rows := 0
		for err = src.Next(&b); err == nil; err = src.Next(&b) {
			if rows += b.Len(); b.Len() > c.most {
				t.Errorf("%s: a batch has %d rows, the most is %d", name, b.Len(), c.most)
				break
			}
		}
		if err != nil && (err != io.EOF || rows != strings.Count(c.text, "\n")-1) {
			t.Errorf("%s: %d rows, %v", name, rows, err)
		}
	}
}

func TestManyFields(t *testing.T) {
	many := func(before string, n int, after string) string { // members of one object
		var b strings.Builder
		b.WriteString(before)
		for i := range n {
			fmt.Fprintf(&b, `"%x":0,`, i)
		}
		return b.String() + after
	}
	header := "id"
	for i := range input.MaxFields - 1 {
		header += fmt.Sprintf(",%x", i)
	}
	row := "a" + strings.Repeat(",", input.MaxFields-1) + "\n"
	for name, c := range map[string]struct {
		format format
		text   string
		line   int // 0: it is accepted
		want   string
	}{
		"widest csv":                 {csv, header + "\n" + row + row, 0, ""},
		"too wide a header":          {csv, "\n" + header + ",x\na\n", 2, "more than 16384 fields"},
		"a row of two million":       {csv, "id,v\na,\"\n\"\n\nb,1\nc" + strings.Repeat(",", 2_000_000) + "\nd,1\n", 6, "more than 16384 fields"},
		"a short row before":         {csv, "id,v\na,1\nb\n" + strings.Repeat(",", 20_000) + "\n", 3, "the row has 1 fields"},
		"a bad quote before":         {csv, "id,v\na,1\nb,\"2\"3\n" + strings.Repeat(",", 20_000) + "\n", 3, "not CSV"},
		"a bad header before":        {csv, "key,v\n" + strings.Repeat(",", 20_000) + "\n", 1, `no column "id"`},
		"good rows before":           {csv, "id,v\na,1\nb,\"2\"\n\"c\"" + strings.Repeat(",", 20_000) + "\n", 4, "more than 16384 fields"},
		"line ends of CR":            {csv, strings.Repeat("id,v\r", 20_000), 1, "more than 16384 fields"},
		"commas in quotes":           {csv, "id,v\na,\"" + strings.Repeat(",\"\"", 50_000) + "\"\n", 0, ""},
		"most members":               {ndjson, many("{", input.MaxFields-1, `"id":"a"}`), 0, ""},
		"too many members":           {ndjson, `{"id":"a"}` + "\n" + many("{", input.MaxFields, `"id":"b"}`), 2, "more than 16384 members"},
		"too many in an array":       {array, many("[{", input.MaxFields, `"id":"b"}]`), 1, "more than 16384 members"},
		"too many, object in object": {ndjson, many("{", 9000, many(`"id":"b","o":{`, 9000, `"x":{}}}`)), 1, "more than 16384 members"},
		"objects after one another":  {ndjson, `{"id":"a","o":[` + strings.Repeat(`{"v":"{\""},`, 40_000) + `0]}`, 0, ""},
		"colons in strings":          {ndjson, `{"id":"a","o":"` + strings.Repeat(`:\"`, 40_000) + `"}`, 0, ""},
		"deep":                       {ndjson, strings.Repeat(`{"a":`, 100_000), 1, "exceeded max depth"},
	} {
		_, err := read(t.Context(), strings.NewReader(c.text), c.format, "id")
		if c.line == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if r, ok := errors.AsType[*input.Refusal](err); !ok || r.Line != c.line || !strings.Contains(r.Problem, c.want) || r.Hint == "" && c.want != "exceeded max depth" {
			t.Errorf("%s: %v; want line %d, %q", name, err, c.line, c.want)
		}
	}
}
