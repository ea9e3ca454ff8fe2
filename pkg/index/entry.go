package index

import (
	"bytes"
	"net/netip"
	"slices"

	"freshet.dev/pkg/member"
)

// Reason is why an index lacks a record.
type Reason uint8

// The reasons. Missing is no fault: members may be optional.
const (
	indexed Reason = iota
	// Missing: the value has no such member, or the member is null.
	Missing
	// WrongKind: the member is an object or an array or, for an index of addresses, no text.
	WrongKind
	// TooLong: the member is too long for an ordered index, or is a number with too many digits.
	TooLong
	// NoAddress: the text is no network or address, or the two texts are no range.
	NoAddress

	reasons
)

// String returns the reason for statuses and metrics.
func (r Reason) String() string {
	return [reasons]string{"", "missing", "wrong kind", "too long", "no address"}[r]
}

// encoded is what the members of a record make in an index: the parts of its entries before the key, or why there are none. Its memory is
// reused.
type encoded struct {
	why      Reason
	slab     []byte
	ends     []int // of the parts in slab
	prefixes []netip.Prefix
}

// parts calls yield with each part.
func (e *encoded) parts(yield func([]byte) bool) {
	from := 0
	for _, end := range e.ends {
		if !yield(e.slab[from:end]) {
			return
		}
		from = end
	}
}

func (e *encoded) equal(o *encoded) bool {
	return e.why == o.why && bytes.Equal(e.slab, o.slab) && slices.Equal(e.ends, o.ends)
}

// read encodes the values of the spec's members.
func (e *encoded) read(s Spec, values []member.Value) {
	e.slab, e.ends = e.slab[:0], e.ends[:0]
	e.why = e.encode(s, values)
	if e.why != indexed {
		e.slab, e.ends = e.slab[:0], e.ends[:0]
	}
}

func (e *encoded) encode(s Spec, values []member.Value) Reason {
	for _, v := range values {
		switch k := v.Kind(); {
		case k == member.Missing, k == member.Null:
			return Missing
		case k == member.Object, k == member.Array:
			return WrongKind
		case k != member.String && s.Kind >= Network:
			return WrongKind
		}
	}
	switch s.Kind {
	case Network:
		p, ok := parseNetwork(values[0].Text())
		if !ok {
			return NoAddress
		}
		e.slab = appendPrefix(e.slab, p)
		e.ends = append(e.ends, len(e.slab))
		return indexed
	case AddressRange:
		return e.encodeRange(values[0].Text(), values[1].Text())
	}
	why := e.encodeValue(s.Kind, values[0])
	e.ends = append(e.ends, len(e.slab))
	return why
}

func (e *encoded) encodeRange(first, last string) Reason {
	r, ok := parseRange(first, last)
	if !ok {
		return NoAddress
	}
	e.prefixes = r.AppendPrefixes(e.prefixes[:0])
	for _, p := range e.prefixes {
		e.slab = appendWidth(appendPrefix(e.slab, p), r)
		e.ends = append(e.ends, len(e.slab))
	}
	return indexed
}

func (e *encoded) encodeValue(kind Kind, v member.Value) Reason {
	switch text := v.Text(); {
	case v.Kind() == member.String && kind == Equality && len(text) > hashOver:
		e.slab = appendHashed(e.slab, text)
	case v.Kind() == member.String:
		if len(text) > maxValueBytes {
			return TooLong
		}
		e.slab, _ = Text(text).append(e.slab)
	case v.Kind() == member.Bool:
		e.slab, _ = Bool(v.Bool()).append(e.slab)
	default:
		if !isNumber(text) {
			return WrongKind // a value that is no JSON
		}
		var ok bool
		if e.slab, ok = appendNumber(e.slab, text); !ok {
			return TooLong
		}
	}
	if len(e.slab) > maxValueBytes {
		return TooLong
	}
	return indexed
}
