package snapshot

import (
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
)

// Merge returns the records of base with the deltas applied to them, in the order given: for each key the entry of the
// last delta wins, and a removal drops the record. Each input must be in the order of (hash, key) with the given seed,
// as [Reader.Records] is; base has no removals. Merge holds one entry of each input; a record is valid until the next
// iteration. Merge does not verify that the deltas belong to base: compare the state checksum of the result with that
// of the version.
//
// Merge ends at the first error of an input, or with an error that wraps [ErrOrder] or [ErrRemoval]. It yields the error
// once, last, with a zero record. The sequence can be used as often as its inputs can.
func Merge(seed uint64, base iter.Seq2[dataset.Record, error], deltas ...iter.Seq2[dataset.Record, error]) iter.Seq2[dataset.Record, error] {
	if len(deltas) == 0 {
		return base
	}
	return func(yield func(dataset.Record, error) bool) {
		m := merger{base: input{seed: seed}, deltas: overlay{last: input{seed: seed}}, yield: yield}
		defer m.deltas.stop()
		for i, d := range deltas {
			if err := m.deltas.add(i, seed, d); err != nil {
				m.fail(err)
				return
			}
		}
		for r, err := range base {
			if !m.take(r, err) {
				return
			}
		}
		for m.deltas.live() {
			if !m.yieldDelta() {
				return
			}
		}
	}
}

// merger is a running Merge. Its methods return false at the end of the Merge, after they have yielded the error, if any.
type merger struct {
	base   input
	deltas overlay
	yield  func(dataset.Record, error) bool
}

// take accepts the next record of base. It yields the deltas' entries up to its key, and then the record, unless a delta
// has an entry with the same key.
func (m *merger) take(r dataset.Record, err error) bool {
	if err == nil {
		err = m.base.set(r)
	}
	if err != nil {
		return m.fail(fmt.Errorf("base: %w", err))
	}
	for m.deltas.live() {
		order := m.deltas.compare(&m.base)
		if order > 0 {
			break
		}
		if more := m.yieldDelta(); !more || order == 0 {
			return more
		}
	}
	return m.yield(r, nil)
}

// yieldDelta yields the least entry of the deltas, unless it is a removal, and moves the deltas past its key.
func (m *merger) yieldDelta() bool {
	if e := m.deltas.entry(); !e.Removed && !m.yield(e, nil) {
		return false
	}
	if err := m.deltas.advance(); err != nil {
		return m.fail(err)
	}
	return true
}

func (m *merger) fail(err error) bool {
	m.yield(dataset.Record{}, fmt.Errorf("merge: %w", err))
	return false
}

// overlay is the merged stream of the deltas: for each key the entry of the last delta that has one. A linear search
// finds the least entry, because there are few deltas, with few entries compared with the base.
type overlay struct {
	heads []*head // of the deltas that have an entry left, in the order of the deltas
	least *head   // the head with the least (hash, key), of the last delta that has it; nil at the end
	stops []func()
	last  input // the entry that advance leaves behind
}

// head is the current entry of one delta.
type head struct {
	input
	number int
	next   func() (dataset.Record, error, bool)
}

// add adds the next delta.
func (o *overlay) add(number int, seed uint64, d iter.Seq2[dataset.Record, error]) error {
	next, stop := iter.Pull2(d)
	o.stops = append(o.stops, stop)
	h := &head{input: input{seed: seed, delta: true}, number: number, next: next}
	o.heads = append(o.heads, h)
	if err := o.move(h); err != nil {
		return err
	}
	o.choose()
	return nil
}

func (o *overlay) stop() {
	for _, stop := range o.stops {
		stop()
	}
}

// live reports whether a delta has an entry left.
func (o *overlay) live() bool { return o.least != nil }

// entry returns the entry with the least (hash, key).
func (o *overlay) entry() dataset.Record { return o.least.record }

func (o *overlay) compare(in *input) int { return o.least.compare(in) }

// advance moves every delta past the key of the current entry.
func (o *overlay) advance() error {
	o.last.hash, o.last.key = o.least.hash, append(o.last.key[:0], o.least.key...)
	for i := len(o.heads) - 1; i >= 0; i-- { // from the end, because move may drop a head
		if h := o.heads[i]; h.compare(&o.last) == 0 {
			if err := o.move(h); err != nil {
				return err
			}
		}
	}
	o.choose()
	return nil
}

// move moves h to its next entry, or drops h after the last.
func (o *overlay) move(h *head) error {
	r, err, ok := h.next()
	if !ok {
		for i := range o.heads {
			if o.heads[i] == h {
				o.heads = append(o.heads[:i], o.heads[i+1:]...)
				break
			}
		}
		return nil
	}
	if err == nil {
		err = h.set(r)
	}
	if err != nil {
		return fmt.Errorf("delta %d: %w", h.number+1, err)
	}
	return nil
}

func (o *overlay) choose() {
	o.least = nil
	for _, h := range o.heads {
		if o.least == nil || h.compare(&o.least.input) <= 0 {
			o.least = h
		}
	}
}

// MergeDeltas returns the entries of deltas that follow one another, as one delta: for each key the entry of the last delta that
// has one, also if that is a removal. The inputs are as for [Merge], and so is the result. An entry need not change anything: a
// later delta may restore the record of the base.
func MergeDeltas(seed uint64, deltas ...iter.Seq2[dataset.Record, error]) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		entries := overlay{last: input{seed: seed}}
		defer entries.stop()
		for i, d := range deltas {
			if err := entries.add(i, seed, d); err != nil {
				yield(dataset.Record{}, fmt.Errorf("merge: %w", err))
				return
			}
		}
		for entries.live() {
			if !yield(entries.entry(), nil) {
				return
			}
			if err := entries.advance(); err != nil {
				yield(dataset.Record{}, fmt.Errorf("merge: %w", err))
				return
			}
		}
	}
}
