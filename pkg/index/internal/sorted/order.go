package sorted

import (
	"bytes"
	"encoding/binary"
	"slices"
)

const (
	// fewEdits is how many edits are sorted by comparisons.
	fewEdits = 48
	// yieldEvery is how many edits or comparisons a sort handles between two calls of yield.
	yieldEvery = 4096
)

// sorter sorts edits by their entries, the removal of an entry before its addition. It skips what the edits of a run have in common, and
// orders the run by the next eight bytes without comparisons: entries of an index begin with the same few bytes.
type sorter struct {
	e     *Edits
	keyed []keyed // one for each edit, twice
	done  int
	yield func()
}

// keyed is an edit with eight bytes of its entry.
type keyed struct {
	key uint64
	edit
}

// sort orders the edits by their entries, the removal of an entry before its addition.
func (e *Edits) sort(yield func()) {
	s := sorter{e: e, yield: yield}
	s.sort(e.edits, 0)
}

// step counts n edits or comparisons.
func (s *sorter) step(n int) {
	if s.done += n; s.done >= yieldEvery {
		s.done = 0
		s.yield()
	}
}

// sort sorts edits whose entries have their first skip bytes in common.
func (s *sorter) sort(edits []edit, skip int) {
	if len(edits) <= fewEdits {
		s.compare(edits, skip)
		return
	}
	skip, whole := s.common(edits, skip)
	if whole {
		s.compare(edits, skip)
		return
	}
	if s.keyed == nil {
		s.keyed = make([]keyed, 2*len(edits))
	}
	from, to := s.keyed[:len(edits)], s.keyed[len(s.keyed)/2:][:len(edits)]
	for i, d := range edits {
		s.step(1)
		from[i] = keyed{head(s.e.entry(d)[skip:]), d}
	}
	from = s.radix(from, to)
	for i, k := range from {
		edits[i] = k.edit
	}
	// Runs with the same key are few, so that their ends are kept, because the memory of keyed is used again.
	var ends []int
	for i := 1; i <= len(from); i++ {
		if i == len(from) || from[i].key != from[i-1].key {
			ends = append(ends, i)
		}
	}
	start := 0
	for _, end := range ends {
		if end-start > 1 {
			s.sort(edits[start:end], skip)
		}
		start = end
	}
}

// common returns how many bytes the entries begin with together, and whether that is all of one of them.
func (s *sorter) common(edits []edit, skip int) (n int, whole bool) {
	first := s.e.entry(edits[0])
	n, shortest := len(first), len(first)
	for _, d := range edits[1:] {
		s.step(1)
		x := s.e.entry(d)
		n = skip + common(first[skip:n], x[skip:])
		shortest = min(shortest, len(x))
	}
	return n, n == shortest
}

// radix sorts by the keys, a byte at a time, and returns the one of both slices that has the result.
func (s *sorter) radix(from, to []keyed) []keyed {
	var counts [8][256]int
	for i := range from {
		s.step(1)
		for b := range counts {
			counts[b][byte(from[i].key>>(8*b))]++
		}
	}
	for b := range counts {
		count := &counts[b]
		if count[byte(from[0].key>>(8*b))] == len(from) {
			continue
		}
		at := 0
		for i, n := range count {
			count[i] = at
			at += n
		}
		for i := range from {
			s.step(1)
			c := &count[byte(from[i].key>>(8*b))]
			to[*c] = from[i]
			*c++
		}
		from, to = to, from
	}
	return from
}

// compare sorts edits by comparisons.
func (s *sorter) compare(edits []edit, skip int) {
	slices.SortFunc(edits, func(a, b edit) int {
		s.step(1)
		if c := bytes.Compare(s.e.entry(a)[skip:], s.e.entry(b)[skip:]); c != 0 {
			return c
		}
		switch {
		case a.add == b.add:
			return 0
		case b.add:
			return -1
		}
		return 1
	})
}

// head returns the first bytes of x as a number. Entries with different heads have the order of their heads.
func head(x []byte) uint64 {
	if len(x) >= 8 {
		return binary.BigEndian.Uint64(x)
	}
	var padded [8]byte
	copy(padded[:], x)
	return binary.BigEndian.Uint64(padded[:])
}
