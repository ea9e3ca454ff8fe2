// Package ndjson writes records as NDJSON that a publish reads back as the same records, with the same bytes of keys and values.
//
// A line is the value of a record, unchanged. A publish takes the key from members of it, so the same members of every value must make
// the key of its record; see [dataset.JoinKey] and [dataset.NumberKeys]. A record that a publish would not read back so is
// refused by its key: a value that is no JSON object, has a line end in it or has another key in the member. Each line is decoded as a
// publish decodes it before it is accepted.
package ndjson

import (
	"bytes"
	"errors"
	"fmt"

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

// Encoder writes records as lines. It is for one goroutine.
type Encoder struct {
	numbers dataset.NumberKeys
	named   bool // the caller has named the key
	started bool
	keys    []key // that all records so far have
}

// key is a key that the records may have.
type key struct {
	members []string
	line    *input.Line
}

// NewEncoder returns an Encoder for a publish under the rules, of which the key and the numbers that are keys matter. If the rules have no
// key, the Encoder finds a member that holds the key in every record: see Key.
func NewEncoder(rules dataset.InputRules) *Encoder {
	e := &Encoder{numbers: rules.NumberKeys, named: len(rules.Key) > 0}
	if e.named {
		e.add(rules.Key...)
	}
	return e
}

func (e *Encoder) add(members ...string) {
	k := input.Key{Members: members, Numbers: e.numbers}
	e.keys = append(e.keys, key{members, input.NewLine(k, publish.DefaultRemove)})
}

// Key returns the members that make the key of every record so far; nil before the first record, unless the caller has named them.
func (e *Encoder) Key() []string {
	if len(e.keys) == 0 {
		return nil
	}
	return e.keys[0].members
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
		e.keys = nil
		for _, name := range input.Holders(r) {
			e.add(name)
		}
	}
	e.started = true
	kept := e.keys[:0:0]
	var why error
	for _, k := range e.keys {
		key, value, err := k.line.Decode(r.Value)
		switch {
		case err != nil:
			why = err
		case !bytes.Equal(key, r.Key) && len(k.members) == 1:
			why = fmt.Errorf("its member %q holds %.64q", k.members[0], key)
		case !bytes.Equal(key, r.Key):
			why = fmt.Errorf("its members %q make the key %.64q", k.members, key)
		case !bytes.Equal(value, r.Value):
			why = errors.New("its value would change")
		default:
			kept = append(kept, k)
		}
	}
	if len(kept) > 0 {
		e.keys = kept
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
