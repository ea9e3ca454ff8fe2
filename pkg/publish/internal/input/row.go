package input

import (
	"bytes"
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
	"github.com/go-json-experiment/json/jsontext"
)

// kind is the JSON type of a column's fields.
type kind uint8

const (
	text kind = iota
	number
	boolean
)

// column is a column of a CSV.
type column struct {
	name     string
	before   []byte // what comes before a field in a value: a brace or comma, the name as a JSON string, a colon
	kind     kind
	nullable bool // the text rowForm.null is null
	member   int  // of the key; -1 if the column is none
}

// rowForm says what the rows of a CSV become. Decoders share it.
type rowForm struct {
	key     Key
	columns []column
	remove  int // the column that marks removals; -1 if there is none
	null    []byte
}

// rowDecoder makes a JSON object of each row. It allocates nothing for a good row.
type rowDecoder struct {
	*rowForm
	maker
	out []byte
}

func newRowDecoder(form *rowForm) *rowDecoder {
	return &rowDecoder{rowForm: form, maker: newMaker(form.key)}
}

// quoteNames sets the bytes before each field, without those of the column that marks removals.
func (f *rowForm) quoteNames() {
	first := true
	for i := range f.columns {
		if i == f.remove { // no part of a value
			continue
		}
		before := []byte{','}
		if first {
			before, first = []byte{'{'}, false
		}
		before, _ = jsontext.AppendQuote(before, f.columns[i].name) // the header is UTF-8: checked by NewCSV
		f.columns[i].before = append(before, ':')
	}
}

// row is a row within a batch.
type row struct {
	data   []byte
	fields []int // where each field ends in data
	start  int
}

func (r row) field(i int) []byte {
	if i > 0 {
		return r.data[r.fields[i-1]:r.fields[i]]
	}
	return r.data[r.start:r.fields[0]]
}

func (d *rowDecoder) Decode(b *Batch, i int) (key, value []byte, err error) {
	line, n := b.Line(i), len(d.columns)
	r := row{data: b.data, fields: b.fields[i*n : (i+1)*n], start: b.spans[i].start}
	removed, length := false, 0
	if d.remove >= 0 {
		if removed, err = d.removal(line, r.field(d.remove)); err != nil {
			return nil, nil, err
		}
	}
	if removed {
		err = d.keyOnly(line, r)
	} else {
		length, err = d.object(line, r)
	}
	if err != nil {
		return nil, nil, err
	}
	if key, err = d.join(line); err != nil {
		return nil, nil, err
	}
	if removed {
		return key, nil, check(line, key, 0, d.label)
	}
	return key, d.out, check(line, key, length, d.label)
}

// object sets out to the object of the row, and the texts of the key. The length is that of the object. Of an object that is too long, out
// has only a part.
func (d *rowDecoder) object(line int, r row) (length int, err error) {
	d.out = d.out[:0]
	dropped := 0
	for i := range d.columns {
		if i == d.remove {
			continue
		}
		c := &d.columns[i]
		field := r.field(i)
		d.out = append(d.out, c.before...)
		if err := d.append(line, c, field); err != nil {
			return 0, err
		}
		if err := d.addText(line, c, field); err != nil {
			return 0, err
		}
		if len(d.out) > dataset.MaxValueBytes { // refused by check: only the length is needed
			dropped += len(d.out)
			d.out = d.out[:0]
		}
	}
	d.out = append(d.out, '}')
	return dropped + len(d.out), nil
}

// keyOnly sets the texts of the key of a removal. The other fields count for nothing, but must be UTF-8.
func (d *rowDecoder) keyOnly(line int, r row) error {
	for i := range d.columns {
		c := &d.columns[i]
		if c.member < 0 && i != d.remove {
			if err := d.appendText(line, c, r.field(i)); err != nil {
				return err
			}
			d.out = d.out[:0]
			continue
		}
		if err := d.addText(line, c, r.field(i)); err != nil {
			return err
		}
	}
	return nil
}

// addText adds the field to the texts of the key if it is one of its columns.
func (d *rowDecoder) addText(line int, c *column, field []byte) error {
	switch {
	case c.member < 0:
		return nil
	case c.kind == number:
		if !isNumber(field) {
			return d.mistyped(line, c, field)
		}
		return d.number(line, c.member, field)
	}
	d.texts[c.member] = append(d.texts[c.member][:0], field...)
	return nil
}

// append appends the JSON of a field to out.
func (d *rowDecoder) append(line int, c *column, field []byte) error {
	switch {
	case c.nullable && bytes.Equal(field, d.null):
		d.out = append(d.out, "null"...)
		return nil
	case c.kind == text:
		return d.appendText(line, c, field)
	case c.kind == number && isNumber(field):
		d.out = append(d.out, field...)
		return nil
	case c.kind == boolean:
		if value, ok := parseBoolean(field); ok {
			d.out = append(d.out, value...)
			return nil
		}
	}
	return d.mistyped(line, c, field)
}

func (d *rowDecoder) appendText(line int, c *column, field []byte) (err error) {
	if d.out, err = jsontext.AppendQuote(d.out, field); err != nil {
		return &Refusal{
			Line: line, Problem: fmt.Sprintf("the field in column %.64q is not UTF-8", c.name),
			Hint: "convert the input to UTF-8", Err: err,
		}
	}
	return nil
}

func (d *rowDecoder) mistyped(line int, c *column, field []byte) error {
	r := &Refusal{Line: line, Problem: fmt.Sprintf("the field in column %.64q is %.40q, which is no JSON number", c.name, field)}
	setting := "csv_numbers"
	r.Hint = "write it as in 12, -0.5 or 1e3, without blanks, a plus sign, leading zeros or separators of thousands"
	if c.kind == boolean {
		setting = "csv_booleans"
		r.Problem = fmt.Sprintf("the field in column %.64q is %.40q, which is no boolean", c.name, field)
		r.Hint = "write true or false"
	}
	r.Hint += fmt.Sprintf("; or take the column out of the setting %s", setting)
	if len(field) == 0 && d.null == nil && c.member < 0 {
		r.Hint = `so that an empty field is null, set csv_null: freshet settings DATASET --set 'csv_null=""' --reason TEXT`
	}
	return r
}

func parseBoolean(field []byte) (value string, ok bool) {
	switch strings.ToLower(string(field)) {
	case "true", "t", "1":
		return "true", true
	case "false", "f", "0":
		return "false", true
	}
	return "", false
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
		Line: line, Problem: fmt.Sprintf("the field in column %.64q is %.20q", d.columns[d.remove].name, field),
		Hint: "true or 1 removes the record; leave it empty, or write false or 0, to add or change one",
	}
}
