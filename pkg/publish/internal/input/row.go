package input

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// rowDecoder makes a JSON object of each row, every field a string. It allocates nothing for a good row.
type rowDecoder struct {
	header []string
	names  [][]byte // what comes before each field: a brace or comma, the name as a JSON string, a colon
	key    int
	out    []byte
}

func newRowDecoder(header []string, key int) *rowDecoder {
	d := &rowDecoder{header: header, key: key}
	for i, name := range header {
		before := []byte{','}
		if i == 0 {
			before = []byte{'{'}
		}
		before, _ = jsontext.AppendQuote(before, name) // the header is UTF-8: checked by NewCSV
		d.names = append(d.names, append(before, ':'))
	}
	return d
}

func (d *rowDecoder) Decode(b *Batch, i int) (key, value []byte, err error) {
	line, n := b.Line(i), len(d.header)
	start := b.spans[i].start
	d.out = d.out[:0]
	for j, end := range b.fields[i*n : (i+1)*n] {
		field := b.data[start:end]
		start = end
		if j == d.key {
			key = field
		}
		d.out = append(d.out, d.names[j]...)
		if d.out, err = jsontext.AppendQuote(d.out, field); err != nil {
			return nil, nil, &Refusal{
				Line: line, Problem: fmt.Sprintf("the field in column %.64q is not UTF-8", d.header[j]),
				Hint: "convert the input to UTF-8", Err: err,
			}
		}
	}
	d.out = append(d.out, '}')
	return key, d.out, check(line, key, d.out, d.header[d.key])
}
