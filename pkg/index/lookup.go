package index

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"freshet.dev/pkg/member"
)

var (
	// ErrNoIndex is wrapped by the errors of lookups on members without an index.
	ErrNoIndex = errors.New("no such index")
	// ErrCondition is wrapped by the errors of conditions that an index cannot answer.
	ErrCondition = errors.New("the index does not answer this")
	// ErrCursor is wrapped by the errors of cursors that are not from a page of the same lookup.
	ErrCursor = errors.New("not a cursor of this lookup")
)

// operation is what a condition compares.
type operation uint8

// The operations, the ones that usually find the fewest records first.
const (
	opAddress operation = iota
	opEqual
	opPrefix
	opBetween
)

// Condition is a condition on the member of an index.
type Condition struct {
	name     string // of the index
	op       operation
	values   []Value
	min, max []Value
	prefix   string
	addr     netip.Addr
}

// Equal finds the records whose member is equal to one of the values. name is that of the index; see [Spec.Name].
func Equal(name string, values ...Value) Condition {
	return Condition{name: name, op: opEqual, values: values}
}

// Prefix finds the records whose member is a text that begins with prefix.
func Prefix(name, prefix string) Condition {
	return Condition{name: name, op: opPrefix, prefix: prefix}
}

// Between finds the records whose member is at least one of the values min and at most the value of the same kind in max. An empty
// list has no bound. Kinds that only one of two lists has find nothing. Texts are compared by their bytes.
func Between(name string, min, max []Value) Condition {
	return Condition{name: name, op: opBetween, min: min, max: max}
}

// Around finds the records of the narrowest network or range that contains the address. Several records may have it, and several ranges
// may be equally narrow. An IPv4 address in IPv6 form is that address. Networks of the other family never contain an address.
func Around(name string, addr netip.Addr) Condition {
	return Condition{name: name, op: opAddress, addr: addr}
}

// span are the entries from from up to until, which is not one of them. A nil until has no end.
type span struct{ from, until []byte }

func (s span) has(entry []byte) bool {
	return bytes.Compare(entry, s.from) >= 0 && (s.until == nil || bytes.Compare(entry, s.until) < 0)
}

// spanOf returns the span of the entries that begin with prefix.
func spanOf(prefix []byte) span { return span{prefix, next(prefix)} }

// Matches are the records of a version that meet conditions.
type Matches struct {
	set     *Set
	column  int // of the index whose entries are read
	spans   []span
	filters []filter
	after   []byte // only later entries
}

// filter is a condition on an index whose entries are not read.
type filter struct {
	column int
	spans  []span
	values []Value // of an equality whose texts may be hashed; nil for others
}

// Find returns the records that meet all conditions, of which there is at least one. One index is read, and the other conditions
// are checked for each of its records, so the cost follows the number of records that meet the best of the conditions. The errors are
// [ErrNoIndex] and [ErrCondition].
func (s *Set) Find(conditions ...Condition) (Matches, error) {
	all := make([]filter, len(conditions))
	best := -1
	for i, c := range conditions {
		var err error
		if all[i], err = s.plan(c); err != nil {
			return Matches{}, err
		}
		if c.op == opAddress && best >= 0 && conditions[best].op == opAddress {
			return Matches{}, fmt.Errorf("%w: a lookup takes one address, for %s or for %s", ErrCondition, conditions[best].name, c.name)
		}
		if best < 0 || c.op == opAddress || conditions[best].op != opAddress && s.about(all[i]) < s.about(all[best]) {
			best = i
		}
	}
	if best < 0 {
		return Matches{}, fmt.Errorf("%w: there is no condition", ErrCondition)
	}
	m := Matches{set: s, column: all[best].column, spans: all[best].spans}
	for i, f := range all {
		if i != best || f.values != nil {
			m.filters = append(m.filters, f)
		}
	}
	return m, nil
}

// about returns about how many entries the condition reads.
func (s *Set) about(f filter) (n int) {
	for _, span := range f.spans {
		n += s.columns[f.column].entries.About(span.from, span.until)
	}
	return n
}

// plan returns the entries that a condition finds.
func (s *Set) plan(c Condition) (filter, error) {
	i := slices.IndexFunc(s.specs.specs, func(spec Spec) bool { return spec.Name() == c.name })
	if i < 0 {
		return filter{}, fmt.Errorf("%w: %.80q", ErrNoIndex, c.name)
	}
	spec, f := s.specs.specs[i], filter{column: i}
	switch {
	case c.op == opAddress && spec.Kind < Network:
		return f, fmt.Errorf("%w: %s is no index of addresses; declare %s%s", ErrCondition, spec, spec.Member, networkMark)
	case c.op != opAddress && spec.Kind >= Network:
		return f, fmt.Errorf("%w: %s finds the records around an address", ErrCondition, spec)
	case c.op > opEqual && spec.Kind == Equality:
		return f, fmt.Errorf("%w: %s is for equality alone; declare %s%s for ranges and prefixes", ErrCondition, spec, spec.Member, orderedMark)
	}
	switch c.op {
	case opAddress:
		f.spans = narrowest(s.columns[i].entries, spec.Kind, c.addr)
	case opEqual:
		f.equal(spec.Kind, c.values)
	case opPrefix:
		f.spans = []span{spanOf(appendText(nil, c.prefix))}
	case opBetween:
		f.between(c.min, c.max)
	}
	return f, nil
}

func (f *filter) equal(kind Kind, values []Value) {
	for _, v := range values {
		encoded, ok := v.append(nil)
		if v.kind == member.String && kind == Equality && len(v.text) > hashOver {
			encoded, f.values = appendHashed(nil, v.text), values
		}
		if ok {
			f.spans = append(f.spans, spanOf(encoded))
		}
	}
	slices.SortFunc(f.spans, func(a, b span) int { return bytes.Compare(a.from, b.from) })
	f.spans = slices.CompactFunc(f.spans, func(a, b span) bool { return bytes.Equal(a.from, b.from) })
}

// kinds are the first and the last tag of each kind, in the order of the tags.
var kinds = []struct {
	kind        member.Kind
	first, last byte
}{
	{member.Bool, tagFalse, tagTrue},
	{member.Number, tagLow, tagHuge},
	{member.String, tagText, tagText},
}

func (f *filter) between(min, max []Value) {
	bound := func(values []Value, kind member.Kind) (encoded []byte, ok bool) {
		for _, v := range values {
			if v.kind == kind {
				return v.append(nil)
			}
		}
		return nil, false
	}
	for _, k := range kinds {
		s := span{[]byte{k.first}, []byte{k.last + 1}}
		lowest, hasMin := bound(min, k.kind)
		highest, hasMax := bound(max, k.kind)
		if len(min) > 0 && !hasMin || len(max) > 0 && !hasMax {
			continue
		}
		if hasMin {
			s.from = lowest
		}
		if hasMax {
			s.until = next(highest)
		}
		f.spans = append(f.spans, s)
	}
}

// keep reports whether a record with the encoded value e, of the member v, meets the condition.
func (f *filter) keep(e *encoded, v member.Value) bool {
	if e.why != indexed || !slices.ContainsFunc(f.spans, func(s span) bool { return s.has(e.slab) }) {
		return false
	}
	return e.slab[0] != tagHashed || slices.Contains(f.values, Text(v.Text()))
}

// Match is a record that was found.
type Match struct {
	// Key and Value are the record's. They alias the memory of the table, as those of [table.Table.Get] do.
	Key, Value []byte

	entry []byte
}

// All returns an iterator over the records, in the order of (member, key) in the index that is read.
func (m Matches) All() iter.Seq[Match] {
	return func(yield func(Match) bool) {
		m.each(func(match Match, ok bool) bool { return !ok || yield(match) })
	}
}

// each calls yield for each entry. ok is false for records that do not meet the other conditions.
func (m Matches) each(yield func(match Match, ok bool) bool) {
	if m.set == nil {
		return
	}
	kind := m.set.specs.specs[m.column].Kind
	checker := checker{set: m.set, filters: m.filters}
	for _, s := range m.spans {
		from := s.from
		if bytes.Compare(m.after, from) > 0 {
			from = m.after
		}
		for entry := range m.set.columns[m.column].entries.From(from) {
			if s.until != nil && bytes.Compare(entry, s.until) >= 0 {
				break
			}
			at := 0
			if kind >= Network {
				at = prefixLen(entry, kind)
			} else {
				at = valueLen(entry)
			}
			record, ok := m.set.table.Record(entry[at:])
			if !ok {
				panic("index: a record of the index is not in its table")
			}
			if !yield(Match{Key: record.Key, Value: record.Value, entry: entry}, checker.keep(record.Value)) {
				return
			}
		}
	}
}

// checker checks the conditions on records that another index found.
type checker struct {
	set     *Set
	filters []filter
	values  []member.Value
	encoded encoded
}

func (c *checker) keep(value []byte) bool {
	if len(c.filters) == 0 {
		return true
	}
	specs := c.set.specs
	c.values = specs.paths.Read(value, c.values[:0])
	for i := range c.filters {
		f := &c.filters[i]
		values := specs.values(f.column, c.values)
		c.encoded.read(specs.specs[f.column], values)
		if !f.keep(&c.encoded, values[0]) {
			return false
		}
	}
	return true
}

// Limits bound a page. Zero means no bound.
type Limits struct {
	// Records and Bytes are the most records and bytes of values. A page has at least one record, if there is one.
	Records, Bytes int
	// Reads is the most records to read and compare with the conditions. A page may so have fewer records than there are, even none.
	Reads int
}

// Page returns the next records within the limits, and the cursor of the page after it, which is empty if there are no more.
func (m Matches) Page(limits Limits) (page []Match, cursor string) {
	read, size := 0, 0
	var last []byte
	more := false
	m.each(func(match Match, ok bool) bool {
		full := limits.Records > 0 && len(page) == limits.Records || limits.Reads > 0 && read == limits.Reads ||
			limits.Bytes > 0 && ok && len(page) > 0 && size+len(match.Key)+len(match.Value) > limits.Bytes
		if full {
			more = true
			return false
		}
		read++
		last = append(last[:0], match.entry...)
		if ok {
			size += len(match.Key) + len(match.Value)
			page = append(page, Match{Key: match.Key, Value: match.Value})
		}
		return true
	})
	if !more {
		return page, ""
	}
	name := m.set.specs.specs[m.column].Name()
	text := append(binary.AppendUvarint(nil, uint64(len(name))), name...)
	return page, base64.RawURLEncoding.EncodeToString(append(text, last...))
}

// maxCursor is the length of the longest cursor.
const maxCursor = 8 << 10

// FindAfter is [Set.Find] for the page after the one that returned the cursor. The cursor may be of another version: the page begins
// after the last entry of that page, in the order of (member, key), whether this version has it or not. So a record that all versions
// have, with the same members, comes exactly once. The error may also be an [ErrCursor].
func (s *Set) FindAfter(cursor string, conditions ...Condition) (Matches, error) {
	m, err := s.Find(conditions...)
	if err != nil || cursor == "" {
		return m, err
	}
	bad := fmt.Errorf("%w; begin again without it", ErrCursor)
	if len(cursor) > maxCursor {
		return m, bad
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	n, size := binary.Uvarint(text)
	if err != nil || size <= 0 || n > uint64(len(text)-size) {
		return m, bad
	}
	name, entry := string(text[size:size+int(n)]), text[size+int(n):]
	// The index that is read may be another in this version, and the order with it.
	for i, c := range conditions {
		if c.name == name && len(entry) > 0 {
			if m, ok, err := s.reread(conditions, i, entry); ok || err != nil {
				return m, err
			}
		}
	}
	return Matches{}, bad
}

// reread returns the records that meet the conditions, read from the index of condition i, after the entry. ok is false if the condition
// does not read the entry.
func (s *Set) reread(conditions []Condition, i int, entry []byte) (m Matches, ok bool, err error) {
	for k, c := range conditions {
		f, err := s.plan(c)
		if err != nil {
			return Matches{}, false, err
		}
		if k == i {
			m.set, m.column, m.spans = s, f.column, f.spans
		}
		if k != i || f.values != nil {
			m.filters = append(m.filters, f)
		}
	}
	if c := conditions[i]; c.op != opAddress && !slices.ContainsFunc(m.spans, func(s span) bool { return s.has(entry) }) {
		return Matches{}, false, nil
	}
	m.after = append(entry, 0)
	return m, true, nil
}
