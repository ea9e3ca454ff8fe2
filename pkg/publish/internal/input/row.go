package input

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// rowDecoder makes a JSON object of each row, every field a string. It allocates nothing for a good row.
type rowDecoder struct {
	header []string
	names  [][]byte // the bytes before each field: a brace or comma, the name as a JSON string, a colon
	key    int
	remove int // -1 if no column marks removals
	out    []byte
}

func newRowDecoder(header []string, key, remove int) *rowDecoder {
	d := &rowDecoder{header: header, key: key, remove: remove}
	for i, name := range header {
		before := []byte{','}
		if i == 0 || i == 1 && remove == 0 { // the column that marks removals is no part of a value
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
	removed := false
	d.out = d.out[:0]
	for j, end := range b.fields[i*n : (i+1)*n] {
		field := b.data[start:end]
		start = end
		if j == d.remove {
			if removed, err = d.removal(line, field); err != nil {
				return nil, nil, err
			}
			continue
		}
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
	if removed {
		return key, nil, check(line, key, nil, d.header[d.key])
	}
	d.out = append(d.out, '}')
	return key, d.out, check(line, key, d.out, d.header[d.key])
}

// removal reads the field that marks removals.
func (d *rowDecoder) removal(line int, field []byte) (bool, error) {
	switch string(field) {
	case "true", "1":
		return true, nil
	case "", "false", "0":
		return false, nil
	}
	return false, &Refusal{
		Line: line, Problem: fmt.Sprintf("the field in column %.64q is %.20q", d.header[d.remove], field),
		Hint: "true or 1 removes the record; leave it empty, or write false or 0, to add or change one",
	}
}
