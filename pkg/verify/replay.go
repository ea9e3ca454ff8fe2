package verify

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"iter"

	"freshet.dev/pkg/dataset"
)

// checkEvery is the number of records between two checks of the context.
const checkEvery = 1 << 14

// tally sums the records of a version. Its arithmetic wraps around, so a tally can also be the difference of two versions.
type tally struct {
	state   dataset.Checksum
	payload uint64
}

func (t *tally) add(o tally) {
	t.state.Merge(o.state)
	t.payload += o.payload
}

// records is a sequence of records in the order of (hash, key).
type records = iter.Seq2[dataset.Record, error]

// replay applies deltas one after the other to base, all in the order of the seed. It returns by how much each delta changes the sums of
// the version before it. At the end of replay all sequences have ended. It returns the first error of a sequence.
//
// One pass is enough for all versions: for each key it walks through the entries of the deltas in order, and each entry replaces the record
// before it.
func replay(ctx context.Context, seed uint64, base records, deltas []records) ([]tally, error) {
	p := player{seed: seed, changes: make([]tally, len(deltas))}
	var stops []func()
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for i, d := range deltas {
		next, stop := iter.Pull2(d)
		stops = append(stops, stop)
		if err := p.advance(&head{number: i, next: next}); err != nil {
			return nil, err
		}
	}
	n := 0
	for r, err := range base {
		if n%checkEvery == 0 && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		n++
		if err := p.record(r); err != nil {
			return nil, err
		}
	}
	for len(p.heads) > 0 {
		if err := p.key(nil); err != nil {
			return nil, err
		}
	}
	return p.changes, nil
}

// player is a running replay.
type player struct {
	seed    uint64
	heads   heads
	changes []tally
	keyBuf  []byte // the key at work
	old     []byte // the encoding of the record before the entry at work
	next    []byte // the encoding of the entry at work
}

// record accepts the next record of the base. It plays the entries with lower keys, and those with its key.
func (p *player) record(r dataset.Record) error {
	if len(p.heads) == 0 {
		return nil
	}
	hash := dataset.Hash(p.seed, r.Key)
	for len(p.heads) > 0 {
		order := compare(p.heads[0].hash, p.heads[0].entry.Key, hash, r.Key)
		if order > 0 {
			return nil
		}
		var before *dataset.Record
		if order == 0 {
			before = &r
		}
		if err := p.key(before); err != nil || order == 0 {
			return err
		}
	}
	return nil
}

// key plays all entries with the lowest key, in the order of the deltas. Before is the record of the base with that key, if there is one.
func (p *player) key(before *dataset.Record) error {
	hash := p.heads[0].hash
	p.keyBuf = append(p.keyBuf[:0], p.heads[0].entry.Key...)
	exists, payload := false, uint64(0)
	if before != nil {
		exists, payload, p.old = true, payloadOf(*before), dataset.AppendRecord(p.old[:0], *before)
	}
	for len(p.heads) > 0 && compare(p.heads[0].hash, p.heads[0].entry.Key, hash, p.keyBuf) == 0 {
		h := heap.Pop(&p.heads).(*head)
		change := &p.changes[h.number]
		if exists {
			change.state.Remove(p.seed, p.old)
			change.payload -= payload
		}
		if exists = !h.entry.Removed; exists {
			p.next = dataset.AppendRecord(p.next[:0], h.entry)
			payload = payloadOf(h.entry)
			change.state.Add(p.seed, p.next)
			change.payload += payload
			p.old, p.next = p.next, p.old
		}
		if err := p.advance(h); err != nil {
			return err
		}
	}
	return nil
}

// advance moves a delta to its next entry. It drops the delta after the last one.
func (p *player) advance(h *head) error {
	r, err, ok := h.next()
	if !ok || err != nil {
		return err
	}
	h.entry, h.hash = r, dataset.Hash(p.seed, r.Key)
	heap.Push(&p.heads, h)
	return nil
}

func payloadOf(r dataset.Record) uint64 { return uint64(len(r.Key) + len(r.Value)) }

func compare(hash uint64, key []byte, otherHash uint64, other []byte) int {
	return cmp.Or(cmp.Compare(hash, otherHash), bytes.Compare(key, other))
}

// head is the next entry of a delta. The entry is valid until next is called.
type head struct {
	number int
	next   func() (dataset.Record, error, bool)
	entry  dataset.Record
	hash   uint64
}

// heads is a heap of deltas by the key of their next entry, the earlier delta first.
type heads []*head

func (h heads) Len() int { return len(h) }

func (h heads) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(compare(a.hash, a.entry.Key, b.hash, b.entry.Key), cmp.Compare(a.number, b.number)) < 0
}

func (h heads) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *heads) Push(x any) { *h = append(*h, x.(*head)) }

// Pop implements [heap.Interface].
func (h *heads) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
