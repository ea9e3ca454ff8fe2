package scan

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/member"
)

// maxSlots is how many members of an object are each looked for in its text. An object of which an expression reads more is indexed as a
// whole, so that reading all members of a large object takes linear time.
const maxSlots = 16

// object is a JSON object as a value of CEL. It remembers the members that were read, so that reading one again costs nothing.
type object struct {
	raw   []byte // JSON text; no object means no members
	with  *strs
	slots []slot
	index map[string]ref.Val // by name, nil until built
	keys  []ref.Val          // of index, in the order of the text
}

// slot caches one member. The root object keeps its slots for the next record, whose members are mostly the same.
type slot struct {
	name  string
	paths *member.Paths
	known bool
	value ref.Val // nil if the object lacks the member
	child *object // what value is if it is an object
}

// reset makes o the object with the text raw.
func (o *object) reset(raw []byte) {
	o.raw, o.index, o.keys = raw, nil, nil
	for i := range o.slots {
		o.slots[i].known = false
	}
}

// get returns a member; nil if the object lacks it.
func (o *object) get(name string) ref.Val {
	for i := range o.slots {
		s := &o.slots[i]
		if s.name != name {
			continue
		}
		if !s.known {
			o.read(s)
		}
		return s.value
	}
	if o.index == nil && len(o.slots) < maxSlots {
		paths, err := member.Parse(member.Name(name))
		if err != nil {
			return o.all()[name] // the empty name is no path
		}
		o.slots = append(o.slots, slot{name: strings.Clone(name), paths: paths})
		s := &o.slots[len(o.slots)-1]
		o.read(s)
		return s.value
	}
	return o.all()[name]
}

func (o *object) read(s *slot) {
	var buf [1]member.Value
	v := s.paths.Read(o.raw, buf[:0])[0]
	s.known = true
	switch v.Kind() {
	case member.Missing:
		s.value = nil
	case member.Object:
		if s.child == nil {
			s.child = &object{with: o.with}
		}
		s.child.reset(v.Bytes())
		s.value = s.child
	default:
		s.value = o.with.value(v)
	}
}

// all returns all members.
func (o *object) all() map[string]ref.Val {
	if o.index == nil {
		o.index = make(map[string]ref.Val)
		for name, v := range member.Whole(o.raw).Members() {
			if _, twice := o.index[name]; !twice {
				o.index[name] = o.with.value(v)
				o.keys = append(o.keys, types.String(name))
			}
		}
	}
	return o.index
}

// strs makes CEL values of JSON values. It keeps some strings as CEL values: members such as a country have few different ones, and each
// conversion allocates.
type strs struct {
	kept [1024]ref.Val
}

func (t *strs) text(s string) ref.Val {
	const longest = 32
	if len(s) > longest {
		return types.String(s)
	}
	at := &t.kept[xxh3.HashString(s)%uint64(len(t.kept))]
	if kept, ok := (*at).(types.String); ok && string(kept) == s {
		return *at
	}
	*at = types.String(s)
	return *at
}

// value returns a value that is not missing.
func (t *strs) value(v member.Value) ref.Val {
	switch v.Kind() {
	case member.Bool:
		return types.Bool(v.Bool())
	case member.Number:
		return number(v)
	case member.String:
		return t.text(v.Text())
	case member.Object:
		return &object{raw: v.Bytes(), with: t}
	case member.Array:
		return &array{json: v, with: t}
	default:
		return types.NullValue
	}
}

// number returns an int, a uint or a double; the package comment says when.
func number(v member.Value) ref.Val {
	raw := v.Raw()
	if strings.ContainsAny(raw, ".eE") {
		return types.Double(v.Float())
	}
	if i, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return types.Int(i)
	}
	if u, err := strconv.ParseUint(raw, 10, 64); err == nil {
		return types.Uint(u)
	}
	return types.Double(v.Float())
}

// The methods below make object a [traits.Mapper].

var _ traits.Mapper = (*object)(nil)

func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a JSON object has no form as %v", t)
}

func (o *object) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return o
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("type conversion error from '%s' to '%s'", types.MapType, t)
}

func (o *object) Equal(other ref.Val) ref.Val {
	if o == other {
		return types.True
	}
	m, ok := other.(traits.Mapper)
	if !ok || m.Size() != o.Size() {
		return types.False
	}
	for name, v := range o.all() {
		w, found := m.Find(types.String(name))
		if !found || types.Equal(v, w) != types.True {
			return types.False
		}
	}
	return types.True
}

func (o *object) Type() ref.Type { return types.MapType }
func (o *object) Value() any     { return string(o.raw) }

func (o *object) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	v := o.get(string(name))
	return v, v != nil
}

func (o *object) Get(key ref.Val) ref.Val {
	if v, ok := o.Find(key); ok {
		return v
	}
	return types.NewErr("no such key: %v", key)
}

func (o *object) Contains(key ref.Val) ref.Val {
	_, ok := o.Find(key)
	return types.Bool(ok)
}

func (o *object) Size() ref.Val { return types.Int(len(o.all())) }

func (o *object) Iterator() traits.Iterator {
	o.all()
	return types.NewRefValList(types.DefaultTypeAdapter, o.keys).Iterator()
}
