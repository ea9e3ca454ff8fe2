package events

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// sift returns the beacon data without the datasets that are not wanted, so that decoding costs what an instance has and not
// what the store has. mine is false if the bounds of the message, which come before its datasets, exclude every wanted name. If
// data is not laid out as expected, sift returns all of it: the decoder says what is wrong.
func (s *listening) sift(data []byte) (sifted []byte, mine bool) {
	v := sieve{
		in:     jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
		out:    make([]byte, 0, 512),
		wanted: s.names,
	}
	err := v.message(s.within)
	if errors.Is(err, errNotMine) {
		return nil, false
	}
	if err != nil {
		return data, true
	}
	return v.out, true
}

var errNotMine = errors.New("the bounds exclude every wanted name")

// within reports whether a wanted name lies from from on and before to.
func (s *listening) within(from, to string) bool {
	for name := range s.names {
		if name >= from && (to == "" || name < to) {
			return true
		}
	}
	return false
}

// sieve copies JSON from in to out.
type sieve struct {
	in     *jsontext.Decoder
	out    []byte
	wanted map[string]bool
}

// message copies the beacon, of its datasets the wanted ones.
func (v *sieve) message(within func(from, to string) bool) error {
	if v.in.PeekKind() != '{' {
		return errors.New("not an object")
	}
	if _, err := v.in.ReadToken(); err != nil {
		return err
	}
	v.out = append(v.out, '{')
	var from, to string
	for v.in.PeekKind() != '}' {
		key, err := v.in.ReadValue()
		if err != nil {
			return err
		}
		v.add(key)
		v.out = append(v.out, ':')
		name, begin := string(key), len(v.out)
		switch name {
		case `"newest"`:
			if !within(from, to) {
				return errNotMine
			}
			err = v.pick()
		case `"ids"`, `"unread"`:
			err = v.pick()
		default:
			err = v.copy()
		}
		if err != nil {
			return err
		}
		if text, ok := plain(v.out[begin:]); ok && name == `"from"` {
			from = string(text)
		} else if ok && name == `"to"` {
			to = string(text)
		}
	}
	if _, err := v.in.ReadToken(); err != nil {
		return err
	}
	v.out = append(v.out, '}')
	if _, err := v.in.ReadToken(); err != io.EOF {
		return errors.New("more than one value")
	}
	return nil
}

// pick copies an object or array, of its members or elements the wanted ones, and any other value whole.
func (v *sieve) pick() error {
	kind := v.in.PeekKind()
	if kind != '{' && kind != '[' {
		return v.copy()
	}
	if _, err := v.in.ReadToken(); err != nil {
		return err
	}
	v.out = append(v.out, byte(kind))
	for next := v.in.PeekKind(); next != '}' && next != ']'; next = v.in.PeekKind() {
		name, err := v.in.ReadValue()
		if err != nil {
			return err
		}
		text, ok := plain(name)
		kept := !ok || v.wanted[string(text)] // a name with an escape may be any
		if kept {
			v.add(name)
		}
		switch {
		case kind == '[':
		case kept:
			v.out = append(v.out, ':')
			err = v.copy()
		default:
			err = v.in.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	end, err := v.in.ReadToken()
	v.out = append(v.out, byte(end.Kind()))
	return err
}

// add appends a name or an element, with a comma before all but the first.
func (v *sieve) add(value []byte) {
	if last := v.out[len(v.out)-1]; last != '{' && last != '[' {
		v.out = append(v.out, ',')
	}
	v.out = append(v.out, value...)
}

// copy appends the next value.
func (v *sieve) copy() error {
	value, err := v.in.ReadValue()
	v.out = append(v.out, value...)
	return err
}

// plain returns the text of a JSON string; ok is false for other values and for strings with an escape.
func plain(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return nil, false
	}
	return value[1 : len(value)-1], true
}
