package snapshot

import (
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
)

// Merge returns the records of the version that deltas lead to from the records of base: the deltas are applied in the
// order given, so the entry of a later one wins, and removals take records away. Each stream must be in the order of
// (hash, key) with the given seed, as [Reader.Records] is; base has no removals. Merge holds one entry of each
// stream, and what it yields is valid until the next step. That the deltas belong to base is not checked here: compare
// the state checksum of what comes out with that of the version.
//
// The first error of a stream, or one that wraps [ErrOrder] or [ErrRemoval], ends it: it is yielded once, last, with a
// zero record. It can be used as often as its streams can.
func Merge(seed uint64, base iter.Seq2[dataset.Record, error], deltas ...iter.Seq2[dataset.Record, error]) iter.Seq2[dataset.Record, error] {
	if len(deltas) == 0 {
		return base
	}
	return func(yield func(dataset.Record, error) bool) {
		o := overlay{was: side{seed: seed}}
		defer o.stop()
		fail := func(err error) { yield(dataset.Record{}, fmt.Errorf("merge: %w", err)) }
		for i, d := range deltas {
			if err := o.add(i, seed, d); err != nil {
				fail(err)
				return
			}
		}
		at := side{seed: seed}
		for r, err := range base {
			if err == nil {
				err = at.set(r)
			}
			if err != nil {
				fail(fmt.Errorf("base: %w", err))
				return
			}
			replaced := false
			for o.live() && o.compare(&at) <= 0 {
				replaced = o.compare(&at) == 0
				e := o.entry()
				if !e.Removed && !yield(e, nil) {
					return
				}
				if err := o.advance(); err != nil {
					fail(err)
					return
				}
			}
			if !replaced && !yield(r, nil) {
				return
			}
		}
		for o.live() {
			if e := o.entry(); !e.Removed && !yield(e, nil) {
				return
			}
			if err := o.advance(); err != nil {
				fail(err)
				return
			}
		}
	}
}

// overlay is the merged stream of the deltas: for each key the entry of the last delta that has one. There are few
// deltas and their entries are few beside the base's, so the least is searched one by one.
type overlay struct {
	heads []*head // those that have an entry, in the order of the deltas
	least *head   // of the entries with the least (hash, key), that of the last delta
	stops []func()
	was   side
}

// head is where one delta stands.
type head struct {
	side
	number int
	next   func() (dataset.Record, error, bool)
}

// add adds the next delta.
func (o *overlay) add(number int, seed uint64, d iter.Seq2[dataset.Record, error]) error {
	next, stop := iter.Pull2(d)
	o.stops = append(o.stops, stop)
	h := &head{side: side{seed: seed, delta: true}, number: number, next: next}
	o.heads = append(o.heads, h)
	if err := o.step(h); err != nil {
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

func (o *overlay) live() bool { return o.least != nil }

// entry returns the entry with the least (hash, key).
func (o *overlay) entry() dataset.Record { return o.least.record }

func (o *overlay) compare(at *side) int { return o.least.compare(at) }

// advance moves every delta past the key of the present entry.
func (o *overlay) advance() error {
	o.was.hash, o.was.key = o.least.hash, append(o.was.key[:0], o.least.key...)
	for i := len(o.heads) - 1; i >= 0; i-- { // from the end, because step may take one out
		if h := o.heads[i]; h.compare(&o.was) == 0 {
			if err := o.step(h); err != nil {
				return err
			}
		}
	}
	o.choose()
	return nil
}

// step moves h to its next entry, or takes it out after the last.
func (o *overlay) step(h *head) error {
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
		if o.least == nil || h.compare(&o.least.side) <= 0 {
			o.least = h
		}
	}
}
