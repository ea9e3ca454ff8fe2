package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"freshet.dev/pkg/dataset"
	"github.com/go-json-experiment/json/jsontext"
)

// objects decodes texts that must be JSON objects. It allocates nothing for a good one.
type objects struct {
	maker
	names [][]byte // the members of the key as JSON strings in their shortest form
	raws  [][]byte // the JSON values of these members in the record in progress; empty until one is found
	// remove is the member that marks removals, quoted likewise; empty if there are no removals.
	remove  string
	removal []byte
	refused bool // removals are refused
	buf     bytes.Buffer
	dec     *jsontext.Decoder
	name    []byte // reused: a member's name that has escapes in it
}

func newObjects(key Key, opts options) *objects {
	removal, _ := jsontext.AppendQuote(nil, opts.remove)
	d := &objects{maker: newMaker(key), raws: make([][]byte, len(key.Members)), remove: opts.remove, removal: removal, refused: opts.refused}
	for _, member := range key.Members {
		// An error means that member is not UTF-8; then no name in any text equals it.
		name, _ := jsontext.AppendQuote(nil, member)
		d.names = append(d.names, name)
	}
	d.dec = jsontext.NewDecoder(&d.buf)
	return d
}

func (d *objects) Decode(b *Batch, i int) (key, value []byte, err error) {
	text, line := b.text(i), b.Line(i)
	if crowded(text) {
		return nil, nil, &Refusal{
			Line: line, Problem: fmt.Sprintf("an object of the record has more than %d members, with those of the objects around it", MaxFields),
			Hint: "split the record into several, or use an array",
		}
	}
	// jsontext works on a bytes.Buffer in place, which makes this copy the only one.
	d.buf.Reset()
	d.buf.Write(text)
	d.dec.Reset(&d.buf)
	removed, err := d.walk()
	if err != nil {
		return nil, nil, d.refuse(text, line, err)
	}
	for i, raw := range d.raws {
		if len(raw) == 0 {
			return nil, nil, d.missing(text, line, d.Members[i])
		}
		if err := d.unquote(line, i, raw); err != nil {
			return nil, nil, err
		}
	}
	if key, err = d.join(line); err != nil {
		return nil, nil, err
	}
	if removed {
		return key, nil, check(line, key, 0, d.label)
	}
	return key, text, check(line, key, len(text), d.label)
}

var (
	errNoObject = errors.New("no object")
	errTrailing = errors.New("more after the object")
	errRemove   = errors.New("no removal")
	errRemoval  = errors.New("a removal")
)

// walk reads the whole text, sets raws to the JSON values of the key's members, and reports whether the record is a removal.
func (d *objects) walk() (removed bool, err error) {
	for i := range d.raws {
		d.raws[i] = d.raws[i][:0]
	}
	if kind := d.dec.PeekKind(); kind != jsontext.KindBeginObject && kind != jsontext.KindInvalid {
		return false, errNoObject
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return false, err
	}
	odd := false
	for d.dec.PeekKind() == jsontext.KindString {
		name, err := d.dec.ReadValue()
		if err != nil {
			return false, err
		}
		member := d.member(name)
		isRemoval := d.remove != "" && d.is(name, d.removal, d.remove)
		// ReadValue is several times faster than SkipValue, which reads token by token.
		value, err := d.dec.ReadValue()
		if err != nil {
			return false, err
		}
		if member >= 0 {
			d.raws[member] = append(d.raws[member], value...)
		}
		if isRemoval {
			removed = value.Kind() == jsontext.KindTrue
			odd = !removed
		}
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return false, err
	}
	switch _, err := d.dec.ReadToken(); {
	case err != io.EOF:
		return false, errTrailing
	case removed && d.refused:
		return false, errRemoval
	case odd && !d.refused:
		return false, errRemove
	}
	return removed, nil
}

// member returns the index of the key's member that name, a JSON string, is; -1 if it is none.
func (d *objects) member(name jsontext.Value) int {
	for i := range d.names {
		if d.is(name, d.names[i], d.Members[i]) {
			return i
		}
	}
	return -1
}

// is reports whether name, a JSON string, is the member, whose shortest JSON form is quoted.
func (d *objects) is(name jsontext.Value, quoted []byte, member string) bool {
	if bytes.Equal(name, quoted) {
		return true
	}
	if bytes.IndexByte(name, '\\') < 0 {
		return false
	}
	d.name, _ = jsontext.AppendUnquote(d.name[:0], name)
	return string(d.name) == member
}

// unquote sets the text of member i of the key.
func (d *objects) unquote(line, i int, raw jsontext.Value) (err error) {
	switch raw.Kind() {
	case jsontext.KindNumber:
		return d.number(line, i, raw)
	case jsontext.KindString:
		d.texts[i], err = jsontext.AppendUnquote(d.texts[i][:0], raw)
		if err != nil { // not reached: the decoder has checked it
			return &Refusal{Line: line, Problem: "the key is no JSON string", Err: err}
		}
		return nil
	}
	return &Refusal{
		Line: line, Problem: fmt.Sprintf("the key member %q is %.20s", d.Members[i], describe(raw)),
		Hint: "a key must be a JSON string or number",
	}
}

func describe(v jsontext.Value) string {
	switch v.Kind() {
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	}
	return v.Kind().String()
}

// refuse returns the error of text, with the line of the error.
func (d *objects) refuse(text []byte, line int, err error) *Refusal {
	r := &Refusal{Line: line, Err: err}
	syntax, _ := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case err == errNoObject:
		r.Problem, r.Hint = "the record is no JSON object", "each record must be one"
		if text[0] == '[' {
			r.Hint = "for a JSON array name the format json"
		}
	case err == errRemove:
		r.Problem = fmt.Sprintf("the member %q is not true", d.remove)
		r.Hint = "it is true to remove the record; leave it out to add or change one"
	case err == errRemoval:
		r.Problem = fmt.Sprintf("the member %q is true: that removes a record in a patch, and this publishes all records", d.remove)
		r.Hint = "publish it as a patch, or leave the record out"
	case err == errTrailing:
		r.Problem = "something follows the JSON object"
		r.Hint = "put each record on a separate line"
	case errors.Is(err, jsontext.ErrDuplicateName) && syntax != nil:
		r.Problem = fmt.Sprintf("the member %.64q stands twice in one object", syntax.JSONPointer.LastToken())
		r.Hint = "it is not defined which of the two counts; remove one"
	case errors.Is(err, io.ErrUnexpectedEOF):
		r.Line += bytes.Count(text, []byte{'\n'})
		r.Problem = "the record ends within its JSON object"
		r.Hint = "put each object on one line, without line ends in it; if this is the last line, the input was cut short"
	case syntax != nil:
		at := min(max(int(syntax.ByteOffset), 0), len(text))
		r.Line += bytes.Count(text[:at], []byte{'\n'})
		r.Problem = fmt.Sprintf("it is not JSON: %v at byte %d of the record", syntax.Err, at+1)
		if strings.Contains(syntax.Err.Error(), "UTF-8") {
			r.Hint = "convert the input to UTF-8"
		}
	default:
		r.Problem = "it cannot be read as JSON: " + err.Error()
	}
	return r
}

// missing refuses a record without a member of the key, and lists its members.
func (d *objects) missing(text []byte, line int, member string) *Refusal {
	const most = 8
	var names []string
	d.buf.Reset()
	d.buf.Write(text)
	d.dec.Reset(&d.buf)
	_, err := d.dec.ReadToken()
	for err == nil && d.dec.PeekKind() == jsontext.KindString {
		var name jsontext.Token
		if name, err = d.dec.ReadToken(); err == nil {
			names = append(names, fmt.Sprintf("%.40q", name.String()))
			err = d.dec.SkipValue()
		}
	}
	r := &Refusal{
		Line: line, Problem: fmt.Sprintf("the record has no member %q, %s", member, d.role()),
		Hint: "name a member that every record has",
	}
	switch {
	case len(names) > most:
		r.Hint += ": this one has " + strings.Join(names[:most], ", ") + " and more"
	case len(names) > 0:
		r.Hint += ": this one has " + strings.Join(names, ", ")
	}
	return r
}

// check compares a key and the length of a value with the limits of a record.
func check(line int, key []byte, valueBytes int, member string) error {
	switch {
	case len(key) == 0:
		return &Refusal{
			Line: line, Problem: fmt.Sprintf("the key, %q, is empty", member),
			Hint: "a key has 1 byte at least", Err: dataset.ErrRecord,
		}
	case len(key) > dataset.MaxKeyBytes:
		return &Refusal{
			Line: line, Key: string(key[:32]) + "...",
			Problem: fmt.Sprintf("the key has %d bytes, the most is %d", len(key), dataset.MaxKeyBytes),
			Hint:    fmt.Sprintf("name a shorter member than %q as the key", member), Err: dataset.ErrRecord,
		}
	case valueBytes > dataset.MaxValueBytes:
		return &Refusal{
			Line: line, Key: string(key),
			Problem: fmt.Sprintf("the record has %d bytes, the most is %d", valueBytes, dataset.MaxValueBytes),
			Hint:    "split it into several records", Err: dataset.ErrRecord,
		}
	}
	return nil
}
