package parquet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// maxDepth bounds the nesting of columns.
const maxDepth = 64

// shape is how a node becomes JSON.
type shape uint8

const (
	scalar shape = iota
	object
	array // of its only child
	pairs // an object of its two children, the key and the value, or of one, the key
)

// node is a column or a group of columns.
type node struct {
	before   []byte // a comma or nothing, the name as a JSON string, a colon; empty in an array
	shape    shape
	optional bool
	def      int // the definition level at which the node is not null
	// itemDef and itemRep are the levels at which an array or pairs have an item, and of its items but the first.
	itemDef, itemRep int
	children         []*node
	first            *leaf // the first leaf in the node
	leaf             *leaf // of a scalar
	path             []string
}

// schema makes nodes of the elements of a file's schema.
type schema struct {
	elements []format.SchemaElement
	at       int
	leaves   []*leaf
}

// newSchema returns the root of the columns, and the leaves in their order.
func newSchema(elements []format.SchemaElement, maxLeaves int) (root *node, leaves []*leaf, err error) {
	if len(elements) == 0 {
		return nil, nil, damaged("it has no schema")
	}
	s := &schema{elements: elements, at: 1}
	root = &node{shape: object}
	if err := s.fields(root, &elements[0], place{}); err != nil {
		return nil, nil, err
	}
	switch {
	case s.at != len(elements):
		return nil, nil, damaged("its schema has %d elements, and its columns have %d", len(elements), s.at)
	case len(s.leaves) == 0:
		return nil, nil, &Refusal{Problem: "the Parquet file has no column", Hint: "look at what writes the file"}
	case len(s.leaves) > maxLeaves:
		return nil, nil, &Refusal{Problem: fmt.Sprintf("the Parquet file has %d columns, the most is %d", len(s.leaves), maxLeaves), Hint: "leave out columns"}
	}
	return root, s.leaves, nil
}

// place is where in the schema a node is: its levels and its path.
type place struct {
	def, rep int
	path     []string
}

// fields adds the children of the group e to n.
func (s *schema) fields(n *node, e *format.SchemaElement, at place) error {
	count := int(e.NumChildren.V)
	switch {
	case count < 1 || count > len(s.elements)-s.at:
		return damaged("the group %.200q of its schema has %d columns", strings.Join(at.path, "."), count)
	case len(at.path) > maxDepth:
		return inColumn(at.path, "is nested more than %d deep", maxDepth)
	}
	for i := range count {
		child, err := s.node(at)
		if err != nil {
			return err
		}
		if i > 0 {
			child.before = append(child.before, ',')
		}
		name := child.path[len(child.path)-1]
		if child.before, err = jsontext.AppendQuote(child.before, name); err != nil {
			return inColumn(child.path, "has a name that is not UTF-8")
		}
		child.before = append(child.before, ':')
		n.children = append(n.children, child)
	}
	n.first = n.children[0].first
	return nil
}

// node returns the next element with its children.
func (s *schema) node(at place) (*node, error) {
	if s.at >= len(s.elements) {
		return nil, damaged("its schema ends early")
	}
	e := &s.elements[s.at]
	s.at++
	at.path = append(slices.Clone(at.path), e.Name)
	if e.RepetitionType.V != format.Repeated || !e.RepetitionType.Valid {
		return s.single(e, at)
	}
	// A repeated field that is neither a list nor a map is an array of itself.
	n := &node{shape: array, def: at.def, path: at.path}
	at.def, at.rep = at.def+1, at.rep+1
	n.itemDef, n.itemRep = at.def, at.rep
	item, err := s.single(e, at)
	if err != nil {
		return nil, err
	}
	n.children, n.first = []*node{item}, item.first
	return n, nil
}

// single returns the node of e, whose repetition, if it is repeated, is that of its place.
func (s *schema) single(e *format.SchemaElement, at place) (*node, error) {
	n := &node{path: at.path}
	if e.RepetitionType.Valid && e.RepetitionType.V == format.Optional {
		n.optional = true
		at.def++
	}
	n.def = at.def
	if e.Type.Valid == (e.NumChildren.V > 0) {
		return nil, damaged("column %.200q is both a group and a value, or neither", strings.Join(at.path, "."))
	}
	if e.Type.Valid {
		l, err := newLeaf(e, at, len(s.leaves))
		if err != nil {
			return nil, err
		}
		s.leaves = append(s.leaves, l)
		n.leaf, n.first = l, l
		return n, nil
	}
	repeats := s.at < len(s.elements) && s.elements[s.at].RepetitionType.Valid && s.elements[s.at].RepetitionType.V == format.Repeated
	one := e.NumChildren.V == 1 && repeats
	switch {
	case isList(e) && one:
		return n, s.list(n, e, at)
	case isMap(e) && one:
		return n, s.pairs(n, at)
	case isVariant(e):
		return nil, inColumn(at.path, "is a VARIANT, which is not read")
	}
	n.shape = object
	return n, s.fields(n, e, at)
}

// list makes n, whose element is e, an array of what its only child repeats. Old writers leave out the group between the list and its
// items: see the section Lists of https://github.com/apache/parquet-format/blob/master/LogicalTypes.md.
func (s *schema) list(n *node, e *format.SchemaElement, at place) error {
	n.shape = array
	repeated := &s.elements[s.at]
	s.at++
	at.path = append(slices.Clone(at.path), repeated.Name)
	at.def, at.rep = at.def+1, at.rep+1
	n.itemDef, n.itemRep = at.def, at.rep
	itself := repeated.NumChildren.V != 1 || repeated.Name == "array" || repeated.Name == e.Name+"_tuple"
	if !itself && s.at < len(s.elements) {
		below := s.elements[s.at].RepetitionType
		itself = below.Valid && below.V == format.Repeated
	}
	var item *node
	var err error
	if itself {
		item, err = s.single(repeated, at)
	} else {
		item, err = s.node(at)
	}
	if err != nil {
		return err
	}
	n.children, n.first = []*node{item}, item.first
	return nil
}

// pairs makes n an object of the keys and values that its only child repeats.
func (s *schema) pairs(n *node, at place) error {
	n.shape = pairs
	repeated := &s.elements[s.at]
	s.at++
	at.path = append(slices.Clone(at.path), repeated.Name)
	at.def, at.rep = at.def+1, at.rep+1
	n.itemDef, n.itemRep = at.def, at.rep
	count := int(repeated.NumChildren.V)
	if repeated.Type.Valid || count < 1 || count > 2 {
		return inColumn(n.path, "is a map without a key and a value")
	}
	for range count {
		child, err := s.node(at)
		if err != nil {
			return err
		}
		n.children = append(n.children, child)
	}
	key := n.children[0]
	if key.leaf == nil || !key.leaf.text {
		return inColumn(n.path, "is a map whose keys are no strings")
	}
	n.first = key.first
	return nil
}

func isList(e *format.SchemaElement) bool {
	_, is := e.LogicalType.Value.(*format.ListType)
	return is || converted(e, deprecated.List)
}

func isMap(e *format.SchemaElement) bool {
	_, is := e.LogicalType.Value.(*format.MapType)
	return is || converted(e, deprecated.Map) || converted(e, deprecated.MapKeyValue)
}

func isVariant(e *format.SchemaElement) bool {
	_, is := e.LogicalType.Value.(*format.VariantType)
	return is
}

func converted(e *format.SchemaElement, to deprecated.ConvertedType) bool {
	return e.ConvertedType.Valid && e.ConvertedType.V == to
}
