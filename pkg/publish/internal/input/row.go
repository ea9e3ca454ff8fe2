package input

import (
	"fmt"

	"freshet.dev/pkg/dataset"
	"github.com/go-json-experiment/json/jsontext"
)

// rowDecoder makes a JSON object of each row, every field a string. It allocates nothing for a good row.
type rowDecoder struct {
	header []string
	names  [][]byte // the bytes before each field: a brace or comma, the name as a JSON string, a colon; shared by all decoders
	key    int
	remove int // -1 if no column marks removals
	out    []byte
}

// quoteNames returns the bytes before each field, without a name for the column that marks removals.
func quoteNames(header []string, remove int) [][]byte {
	names := make([][]byte, 0, len(header))
	for i, name := range header {
		if i == remove { // no part of a value
			names = append(names, nil)
			continue
		}
		before := []byte{','}
		if i == 0 || i == 1 && remove == 0 {
			before = []byte{'{'}
		}
		before, _ = jsontext.AppendQuote(before, name) // the header is UTF-8: checked by NewCSV
		names = append(names, append(before, ':'))
	}
	return names
}

func (d *rowDecoder) Decode(b *Batch, i int) (key, value []byte, err error) {
	line, n := b.Line(i), len(d.header)
	start := b.spans[i].start
	removed, dropped := false, 0
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
		if len(d.out) > dataset.MaxValueBytes { // refused below: only the length is needed
			dropped += len(d.out)
			d.out = d.out[:0]
		}
	}
	if removed {
		return key, nil, check(line, key, 0, d.header[d.key])
	}
	d.out = append(d.out, '}')
	return key, d.out, check(line, key, dropped+len(d.out), d.header[d.key])
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
