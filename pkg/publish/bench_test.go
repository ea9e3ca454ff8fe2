package publish_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"github.com/klauspost/compress/gzip"
)

// generator yields NDJSON lines of about 130 bytes, in an order that has nothing to do with their keys' hashes, without
// holding more than one chunk.
type generator struct {
	next, records int
	every         int // yields one record of as many, changed; 0 yields all as they are
	rest          []byte
	buf           bytes.Buffer
}

func (g *generator) Read(p []byte) (int, error) {
	if len(g.rest) == 0 {
		g.buf.Reset()
		for ; g.next < g.records && g.buf.Len() < 64<<10; g.next += max(g.every, 1) {
			i := g.next
			fmt.Fprintf(&g.buf, `{"key":"item-%09d","name":"Sant Julià %d","country":"AD","region":"Encamp","lat":42.%05d,"lng":1.%05d,"population":%d}`+"\n",
				i, i, i*7919%99_991, i*6151%99_989, i*31%1_000_003+g.every)
		}
		if g.rest = g.buf.Bytes(); len(g.rest) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// BenchmarkPublish is a whole first publish of 500,000 records into a folder: all cores, to the commit.
func BenchmarkPublish(b *testing.B) {
	text, err := io.ReadAll(&generator{records: 500_000})
	if err != nil {
		b.Fatal(err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(text)
	_ = w.Close()
	for name, c := range map[string]struct {
		body   []byte
		memory int64
		schema string
	}{
		"in memory": {text, 512 << 20, ""},
		"spilled":   {text, 16 << 20, ""},
		"gzip":      {packed.Bytes(), 512 << 20, ""},
		"schema": {text, 512 << 20, `{"type":"object","required":["key","name"],"properties":{"key":{"type":"string","pattern":"^item-"},"name":{"type":"string"},
			"country":{"type":"string","minLength":2,"maxLength":2},"region":{"type":"string"},"lat":{"type":"number"},"lng":{"type":"number"},
			"population":{"type":"integer","minimum":0}},"additionalProperties":false}`},
	} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, func(cfg *publish.Config, _ *publish.Deps) {
				cfg.MemoryBytes = c.memory
				cfg.Settings = func(context.Context, string) (dataset.Settings, error) {
					return dataset.Settings{Gates: dataset.Gates{Schema: json.RawMessage(c.schema)}}, nil
				}
			})
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				_, err := r.Publish(b.Context(), fmt.Sprint("d", n), publish.Input{Body: bytes.NewReader(c.body), Key: "key"})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
