package input_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"freshet.dev/pkg/publish/internal/input"
)

// BenchmarkRead is the work of one core: cutting and decoding, on one goroutine.
func BenchmarkRead(b *testing.B) {
	const records = 100_000
	var lines, rows bytes.Buffer
	rows.WriteString("key,name,country,region,lat,lng,population\n")
	for i := range records {
		fmt.Fprintf(&lines, `{"key":"item-%09d","name":"Sant Julià %d","country":"AD","region":"Encamp","lat":42.%05d,"lng":1.%05d,"population":%d}`+"\n",
			i, i, i%99_991, i%99_989, i)
		fmt.Fprintf(&rows, "item-%09d,Sant Julià %d,AD,Encamp,42.%05d,1.%05d,%d\n", i, i, i%99_991, i%99_989, i)
	}
	elements := append([]byte{'['}, bytes.ReplaceAll(bytes.TrimSpace(lines.Bytes()), []byte("\n"), []byte(",\n"))...)
	elements = append(elements, ']')
	for _, c := range []struct {
		format format
		text   []byte
	}{{ndjson, lines.Bytes()}, {array, elements}, {csv, rows.Bytes()}} {
		b.Run(string(c.format), func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				src, err := open(bytes.NewReader(c.text), c.format)
				if err != nil {
					b.Fatal(err)
				}
				var batch input.Batch
				var d input.Decoder
				n := 0
				for {
					if err = src.Next(&batch); err != nil {
						break
					}
					if d == nil {
						d = src.NewDecoder()
					}
					for i := range batch.Len() {
						if _, _, err := d.Decode(&batch, i); err != nil {
							b.Fatal(err)
						}
						n++
					}
				}
				if err != io.EOF || n != records {
					b.Fatalf("%d records: %v", n, err)
				}
			}
		})
	}
}

func open(r io.Reader, f format) (input.Source, error) {
	switch f {
	case array:
		return input.NewJSON(r, input.Member("key")), nil
	case csv:
		return input.NewCSV(r, input.Member("key"))
	}
	return input.NewNDJSON(r, input.Member("key")), nil
}
