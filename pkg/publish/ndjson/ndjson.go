// Package ndjson writes records as NDJSON that a publish reads back as the same records, with the same bytes of keys and values.
//
// A line is the value of a record, unchanged. A publish takes the key from a member of it, so the same member of every value must hold
// the key of its record: as a JSON string, or as a JSON number whose text is the key. A record that a publish would not read back so is
// refused by its key: a value that is no JSON object, has a line end in it or has another key in the member. Each line is decoded as a
// publish decodes it before it is accepted.
package ndjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/publish/internal/input"
)

// ErrRecord is wrapped by every [*RecordError].
var ErrRecord = errors.New("the record cannot be written as a line of NDJSON")

// RecordError is returned for a record that a publish would not read back.
type RecordError struct {
	// Key is the key of the record.
	Key []byte
	// Problem says why.
	Problem string
}

// Error names the record and the reason.
func (e *RecordError) Error() string {
	return fmt.Sprintf("record %.64q cannot be written so that a publish reads it back: %s", e.Key, e.Problem)
}

// Unwrap returns ErrRecord.
func (e *RecordError) Unwrap() error { return ErrRecord }

// maxMembers bounds the members that an Encoder without a key member considers.
const maxMembers = 8

// Encoder writes records as lines. It is for one goroutine.
type Encoder struct {
	named   bool // the caller has named the key member
	started bool
	members []member // that hold the keys of all records so far
}

// member is a member that may hold the keys.
type member struct {
	name string
	line *input.Line
}

// NewEncoder returns an Encoder for a publish whose key is in the member key. If key is empty, the Encoder finds a member that holds the
// key in every record: see KeyMember.
func NewEncoder(key string) *Encoder {
	e := &Encoder{named: key != ""}
	if e.named {
		e.add(key)
	}
	return e
}

func (e *Encoder) add(name string) {
	e.members = append(e.members, member{name, input.NewLine(name, publish.DefaultRemove)})
}

// KeyMember returns the member that holds the key in every record so far; empty before the first record, unless the caller has named it.
func (e *Encoder) KeyMember() string {
	if len(e.members) == 0 {
		return ""
	}
	return e.members[0].name
}

// Append appends the line of the record, with its line end, to dst. It returns dst unchanged with a [*RecordError] if a publish would not
// read the record back.
func (e *Encoder) Append(dst []byte, r dataset.Record) ([]byte, error) {
	if err := e.check(r); err != nil {
		return dst, err
	}
	return append(append(dst, r.Value...), '\n'), nil
}

func (e *Encoder) check(r dataset.Record) error {
	refuse := func(format string, args ...any) error {
		return &RecordError{Key: bytes.Clone(r.Key), Problem: fmt.Sprintf(format, args...)}
	}
	switch n := len(r.Value); {
	case r.Removed:
		return refuse("it is a removal")
	case n < 2 || r.Value[0] != '{' || r.Value[n-1] != '}':
		return refuse("its value is no JSON object")
	case bytes.IndexByte(r.Value, '\n') >= 0:
		return refuse("its value has a line end")
	}
	if !e.started && !e.named {
		e.members = nil
		for _, name := range holders(r) {
			e.add(name)
		}
	}
	e.started = true
	kept := e.members[:0:0]
	var why error
	for _, m := range e.members {
		key, value, err := m.line.Decode(r.Value)
		switch {
		case err != nil:
			why = err
		case !bytes.Equal(key, r.Key):
			why = fmt.Errorf("its member %q holds %.64q", m.name, key)
		case !bytes.Equal(value, r.Value):
			why = errors.New("its value would change")
		default:
			kept = append(kept, m)
		}
	}
	if len(kept) > 0 {
		e.members = kept
		return nil
	}
	if refusal, ok := errors.AsType[*input.Refusal](why); ok {
		why = errors.New(refusal.Problem)
	}
	if why == nil {
		why = errors.New("no member of its value holds its key")
	}
	return refuse("%v", why)
}

// holders returns the names of the members of the record's value that hold its key.
func holders(r dataset.Record) (names []string) {
	dec := jsontext.NewDecoder(bytes.NewReader(r.Value))
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	for dec.PeekKind() == jsontext.KindString && len(names) < maxMembers {
		name, err := dec.ReadToken()
		if err != nil {
			return nil
		}
		text := strings.Clone(name.String())
		value, err := dec.ReadValue()
		if err != nil && err != io.EOF {
			return nil
		}
		held := []byte(value)
		if value.Kind() == jsontext.KindString {
			if held, err = jsontext.AppendUnquote(nil, value); err != nil {
				return nil
			}
		} else if value.Kind() != jsontext.KindNumber {
			continue
		}
		if bytes.Equal(held, r.Key) {
			names = append(names, text)
		}
	}
	return names
}
