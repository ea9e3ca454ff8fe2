package publish_test

import (
	"bytes"
	stdcsv "encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/publish"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// Whatever the records, their order, format, layout and compression: the object in the store holds exactly them.
func TestObjectHoldsWhatTheInputHolds(t *testing.T) {
	r := newRig(t, nil)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.StringN(1, 20, 100), 1, 60, rapid.ID).Draw(rt, "keys")
		format := rapid.SampledFrom([]publish.Format{publish.FormatNDJSON, publish.FormatJSON, publish.FormatCSV}).Draw(rt, "format")
		var text []byte
		var want map[string]string
		if format == publish.FormatCSV {
			text, want = drawCSV(rt, keys)
		} else {
			text, want = drawJSON(rt, keys, format)
			if rapid.Bool().Draw(rt, "auto") {
				format = publish.FormatAuto
			}
		}
		n++
		result, err := r.Publish(t.Context(), fmt.Sprint("d", n), publish.Input{
			Body: bytes.NewReader(drawPacked(rt, text)), Format: format, Key: "the key",
		})
		if err != nil {
			rt.Fatalf("%v\n%q", err, text)
		}
		if diff := cmp.Diff(want, content(t, r.store, result.Record)); diff != "" {
			rt.Fatalf("%s\n%q", diff, text)
		}
		if int(result.Record.State.Records) != len(keys) {
			rt.Fatalf("%d records, want %d", result.Record.State.Records, len(keys))
		}
	})
	noTemp(t, r.temp)
}

// drawJSON writes an object for each key, with other members before and after it, blanks wherever they may be, and the
// key as a number if it could be one.
func drawJSON(rt *rapid.T, keys []string, format publish.Format) ([]byte, map[string]string) {
	blanks := []string{"", " ", "\t ", "\r"}
	end, between := "\n", rapid.SampledFrom([]string{"", "\n", " \t\r\n"}) // lines of blanks
	if format == publish.FormatJSON {
		blanks = append(blanks, "\n", "\n\n  ")
		end, between = ",", rapid.SampledFrom(blanks)
	}
	blank := rapid.SampledFrom(blanks)
	var text bytes.Buffer
	want := map[string]string{}
	for i, key := range keys {
		quoted := quote(key)
		if rapid.Bool().Draw(rt, "ascii") {
			ascii, err := json.Marshal(key) // other escapes than quote's
			if err == nil {
				quoted = string(ascii)
			}
		}
		members := []string{`"the key"` + blank.Draw(rt, "") + ":" + blank.Draw(rt, "") + quoted}
		for j := range rapid.IntRange(0, 3).Draw(rt, "members") {
			member := fmt.Sprintf(`"m%d":%s`, j, rapid.SampledFrom([]string{
				"1", "-0.5e-7", "null", "true", `{"the key":[{}]}`, `["]","}",{"a":"\"\\"}]`, `"\u0041\n"`, `""`,
			}).Draw(rt, "value"))
			members = append(members, member)
		}
		order := rapid.Permutation(members).Draw(rt, "order")
		object := "{" + blank.Draw(rt, "") + strings.Join(order, blank.Draw(rt, "")+","+blank.Draw(rt, "")) + "}"
		want[key] = object
		if i > 0 {
			text.WriteString(end)
		}
		text.WriteString(between.Draw(rt, "") + object + blank.Draw(rt, ""))
	}
	if format == publish.FormatJSON {
		return []byte(blank.Draw(rt, "") + "[" + text.String() + "]" + blank.Draw(rt, "")), want
	}
	return text.Bytes(), want
}

func drawCSV(rt *rapid.T, keys []string) ([]byte, map[string]string) {
	var text bytes.Buffer
	w := stdcsv.NewWriter(&text)
	w.UseCRLF = rapid.Bool().Draw(rt, "CRLF")
	header := rapid.Permutation([]string{"the key", "a", `"b", c`}).Draw(rt, "header")
	_ = w.Write(header)
	want := map[string]string{}
	written := func(field string) string {
		if w.UseCRLF { // in quotes too
			return strings.ReplaceAll(field, "\n", "\r\n")
		}
		return field
	}
	for n, key := range keys {
		// The writer drops a carriage return if it ends lines by CR LF, and writes no quotes around a byte order mark.
		key = strings.TrimLeft(strings.ReplaceAll(key, "\r", ""), "\ufeff") + fmt.Sprint("#", n)
		row := make([]string, len(header))
		object := "{"
		for i, name := range header {
			row[i] = key
			if name != "the key" {
				row[i] = rapid.SampledFrom([]string{"", "x", "a,b", "say \"so\"", "two\nlines", "é\t\x00", "[1]"}).Draw(rt, "field")
			}
			if i > 0 {
				object += ","
			}
			object += quote(name) + ":" + quote(written(row[i]))
		}
		_ = w.Write(row)
		want[written(key)] = object + "}"
	}
	w.Flush()
	return text.Bytes(), want
}

func quote(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func drawPacked(rt *rapid.T, text []byte) []byte {
	if rapid.Bool().Draw(rt, "byte order mark") {
		text = append([]byte("\ufeff"), text...)
	}
	var b bytes.Buffer
	switch rapid.SampledFrom([]string{"plain", "gzip", "zstd"}).Draw(rt, "packing") {
	case "gzip":
		w := gzip.NewWriter(&b)
		_, _ = w.Write(text)
		_ = w.Close()
		return b.Bytes()
	case "zstd":
		w, err := zstd.NewWriter(&b)
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(text)
		_ = w.Close()
		return b.Bytes()
	}
	return text
}
