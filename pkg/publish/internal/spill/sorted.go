package spill

import (
	"bytes"
	"cmp"
	"slices"

	"freshet.dev/pkg/dataset"
)

// sorted is a set of records in memory, with their order.
type sorted struct {
	segments [][]byte // spilled records
	items    []item
}

func (s *sorted) at(it item) (line int, rec dataset.Record) {
	// Every record was decoded when it was loaded, or encoded by this process: the error is always nil.
	line, rec, _, _ = decode(s.segments[it.segment][it.at:])
	return line, rec
}

// sort sorts the items, those of a duplicate key by their lines. It returns a *DuplicateError for a duplicate key.
func (s *sorted) sort() error {
	slices.SortFunc(s.items, func(a, b item) int {
		if c := cmp.Compare(a.hash, b.hash); c != 0 {
			return c
		}
		first, x := s.at(a)
		second, y := s.at(b)
		return cmp.Or(bytes.Compare(x.Key, y.Key), cmp.Compare(first, second))
	})
	var dup *DuplicateError
	for i := 1; i < len(s.items); i++ {
		if s.items[i].hash != s.items[i-1].hash {
			continue
		}
		first, a := s.at(s.items[i-1])
		second, b := s.at(s.items[i])
		if !bytes.Equal(a.Key, b.Key) {
			continue
		}
		if dup == nil || second < dup.Second {
			dup = &DuplicateError{Key: bytes.Clone(a.Key), First: first, Second: second}
		}
	}
	if dup != nil {
		return dup
	}
	return nil
}

// yield yields the records in the order of the items, and reports whether the caller accepts more. It sets line to that of the
// record that it yields.
func (s *sorted) yield(line *int, yield func(dataset.Record, error) bool) (more bool) {
	for _, it := range s.items {
		var rec dataset.Record
		if *line, rec = s.at(it); !yield(rec, nil) {
			return false
		}
	}
	return true
}
