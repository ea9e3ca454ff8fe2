// Package member reads members of values that are JSON objects, without decoding the rest. The values are those of one version of a
// dataset, and never change. Indexes, scans and Redis' protocol read members only through this package: another layout of values needs a
// change here alone.
package member

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// ErrPath is wrapped by the errors of paths that name no member.
var ErrPath = errors.New("not the path of a member")

// Kind is the kind of a member's value.
type Kind uint8

// The kinds of values. Missing is that of a member that the object lacks, and of any member of a value that is no JSON object.
const (
	Missing Kind = iota
	Null
	Bool
	Number
	String
	Object
	Array
)

// Value is the value of a member. It aliases the record's value.
type Value struct{ result gjson.Result }

// Kind returns the kind of the value.
func (v Value) Kind() Kind {
	switch v.result.Type {
	case gjson.True, gjson.False:
		return Bool
	case gjson.Number:
		return Number
	case gjson.String:
		return String
	case gjson.JSON:
		if v.result.IsArray() {
			return Array
		}
		return Object
	}
	if v.result.Raw == "" {
		return Missing
	}
	return Null
}

// Raw returns the JSON text of the value, "" if the member is missing.
func (v Value) Raw() string { return v.result.Raw }

// Bytes returns the bytes of Raw, for [Paths.Read] of an inner object. They must not be modified.
func (v Value) Bytes() []byte {
	return unsafe.Slice(unsafe.StringData(v.result.Raw), len(v.result.Raw))
}

// Members returns an iterator over the members of an object, in the order of its text; it is empty for other kinds. If a name comes
// twice, [Paths.Read] reads the first.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() == Object {
			v.result.ForEach(func(name, value gjson.Result) bool { return yield(name.Str, Value{value}) })
		}
	}
}

// Elements returns an iterator over the elements of an array; it is empty for other kinds.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() == Array {
			v.result.ForEach(func(_, value gjson.Result) bool { return yield(Value{value}) })
		}
	}
}

// Whole returns the value of a record as an object; it is missing if the record's value is no JSON object.
func Whole(value []byte) Value {
	if len(value) < 2 || value[0] != '{' {
		return Value{}
	}
	return Value{gjson.Result{Type: gjson.JSON, Raw: unsafe.String(unsafe.SliceData(value), len(value))}}
}

// Name returns the path of a member of the outermost object, for [Parse].
func Name(name string) string { return strings.NewReplacer(`\`, `\\`, `.`, `\.`).Replace(name) }

// Text returns the characters of a string, and the JSON text of any other value. It allocates only for strings with escapes.
func (v Value) Text() string {
	if v.result.Type == gjson.String {
		return v.result.Str
	}
	return v.result.Raw
}

// Float returns a number; it is 0 for values of other kinds. A number beyond a float64's precision is rounded; Raw has all digits.
func (v Value) Float() float64 { return v.result.Num }

// Bool returns a boolean; it is false for values of other kinds.
func (v Value) Bool() bool { return v.result.Type == gjson.True }

// Paths are the members that a reader wants.
type Paths struct {
	names []string
	paths []string // for gjson
}

// Parse returns paths for [Paths.Read]. A path is the name of a member, or several names separated by dots for a member of an inner
// object. A backslash before a dot or a backslash makes it part of the name.
func Parse(paths ...string) (*Paths, error) {
	p := &Paths{names: paths}
	for _, path := range paths {
		escaped, err := escape(path)
		if err != nil {
			return nil, err
		}
		p.paths = append(p.paths, escaped)
	}
	return p, nil
}

// escape returns the path for gjson, in which the characters of its query language stand for themselves.
func escape(path string) (string, error) {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path):
			i++
			part.WriteByte(path[i])
		case c == '.':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	parts = append(parts, part.String())
	for i, name := range parts {
		if name == "" {
			return "", fmt.Errorf("%w: %.80q has an empty name; want names separated by dots", ErrPath, path)
		}
		parts[i] = gjson.Escape(name)
	}
	return strings.Join(parts, "."), nil
}

// Names returns the paths as passed to [Parse].
func (p *Paths) Names() []string { return p.names }

// Read appends the value of each path in the JSON object to dst and returns it. Any number of goroutines may call it.
func (p *Paths) Read(value []byte, dst []Value) []Value {
	text := unsafe.String(unsafe.SliceData(value), len(value))
	object := len(value) > 1 && value[0] == '{'
	for _, path := range p.paths {
		var v Value
		if object {
			v.result = gjson.Get(text, path)
		}
		dst = append(dst, v)
	}
	return dst
}
