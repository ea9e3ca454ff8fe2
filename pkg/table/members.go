package table

import (
	"iter"

	"freshet.dev/pkg/member"
)

// Members reads members of the records' values. It is safe for concurrent use.
type Members struct {
	table *Table
	paths *member.Paths
}

// Members returns a reader of the members with the given paths.
func (t *Table) Members(paths *member.Paths) Members { return Members{t, paths} }

// Get appends the members of the record with the given key to dst, one for each path. ok reports whether there is such a record. The
// members alias the table's memory; see [Table.Get].
func (m Members) Get(key []byte, dst []member.Value) (members []member.Value, ok bool) {
	value, ok := m.table.Get(key)
	if !ok {
		return dst, false
	}
	return m.paths.Read(value, dst), true
}

// All returns an iterator over keys and their members, in the order of (hash, key). The next step overwrites the slice of members.
func (m Members) All() iter.Seq2[[]byte, []member.Value] {
	return func(yield func([]byte, []member.Value) bool) {
		var members []member.Value
		for key, value := range m.table.All() {
			members = m.paths.Read(value, members[:0])
			if !yield(key, members) {
				return
			}
		}
	}
}
