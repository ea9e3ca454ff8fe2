package events

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// filter returns the beacon data without the datasets of others, so that the cost of decoding depends on the instance's
// datasets and not on the store's. relevant is false if the bounds of the message, which precede its datasets, exclude all
// datasets of the Listener. If data has another layout than expected, filter returns all of it: the decoder then reports
// the fault.
func (s *listening) filter(data []byte) (filtered []byte, relevant bool) {
	f := filter{
		in:     jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
		out:    make([]byte, 0, 512),
		wanted: s.names,
	}
	err := f.message(s.within)
	if errors.Is(err, errIrrelevant) {
		return nil, false
	}
	if err != nil {
		return data, true
	}
	return f.out, true
}

var errIrrelevant = errors.New("the bounds exclude every wanted name")

// within reports whether a dataset of the Listener is within the bounds, from from on and before to.
func (s *listening) within(from, to string) bool {
	for name := range s.names {
		if name >= from && (to == "" || name < to) {
			return true
		}
	}
	return false
}

// filter copies JSON from in to out.
type filter struct {
	in     *jsontext.Decoder
	out    []byte
	wanted map[string]bool
}

// message copies a beacon, but only the wanted ones of its datasets.
func (f *filter) message(within func(from, to string) bool) error {
	if f.in.PeekKind() != '{' {
		return errors.New("not an object")
	}
	if _, err := f.in.ReadToken(); err != nil {
		return err
	}
	f.out = append(f.out, '{')
	var from, to string
	for f.in.PeekKind() != '}' {
		key, err := f.in.ReadValue()
		if err != nil {
			return err
		}
		f.add(key)
		f.out = append(f.out, ':')
		name, begin := string(key), len(f.out)
		switch name {
		case `"newest"`:
			if !within(from, to) {
				return errIrrelevant
			}
			err = f.pick()
		case `"ids"`, `"journal"`, `"unread"`:
			err = f.pick()
		default:
			err = f.copy()
		}
		if err != nil {
			return err
		}
		if text, ok := plain(f.out[begin:]); ok && name == `"from"` {
			from = string(text)
		} else if ok && name == `"to"` {
			to = string(text)
		}
	}
	if _, err := f.in.ReadToken(); err != nil {
		return err
	}
	f.out = append(f.out, '}')
	if _, err := f.in.ReadToken(); err != io.EOF {
		return errors.New("more than one value")
	}
	return nil
}

// pick copies the wanted members of an object or elements of an array. It copies any other value whole.
func (f *filter) pick() error {
	kind := f.in.PeekKind()
	if kind != '{' && kind != '[' {
		return f.copy()
	}
	if _, err := f.in.ReadToken(); err != nil {
		return err
	}
	f.out = append(f.out, byte(kind))
	for next := f.in.PeekKind(); next != '}' && next != ']'; next = f.in.PeekKind() {
		name, err := f.in.ReadValue()
		if err != nil {
			return err
		}
		text, ok := plain(name)
		kept := !ok || f.wanted[string(text)] // a name with an escape may be a wanted one
		if kept {
			f.add(name)
		}
		switch {
		case kind == '[':
		case kept:
			f.out = append(f.out, ':')
			err = f.copy()
		default:
			err = f.in.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	end, err := f.in.ReadToken()
	f.out = append(f.out, byte(end.Kind()))
	return err
}

// add appends a name or an element, with a comma before it unless it is the first.
func (f *filter) add(value []byte) {
	if last := f.out[len(f.out)-1]; last != '{' && last != '[' {
		f.out = append(f.out, ',')
	}
	f.out = append(f.out, value...)
}

// copy appends the next value.
func (f *filter) copy() error {
	value, err := f.in.ReadValue()
	f.out = append(f.out, value...)
	return err
}

// plain returns the text of a JSON string; ok is false for other values and for strings with an escape.
func plain(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return nil, false
	}
	return value[1 : len(value)-1], true
}
