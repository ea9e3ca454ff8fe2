package publish

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"github.com/sourcegraph/conc/pool"
)

const (
	// lookupLanes is how many blocks are read at a time: a request to a bucket takes some tens of milliseconds, mostly
	// of waiting.
	lookupLanes = 16
	// batchRecords and batchBytes bound the records of a patch that are looked up together, and with that their memory.
	// A batch reads each block once; the block between two batches is read twice.
	batchRecords = 1024
	batchBytes   = 8 << 20
)

// wanted is a record of a patch, and what is found out about the present one with its key.
type wanted struct {
	dataset.Record
	hash uint64

	found bool // some file has an entry; the newest counts
	// Of the present record, if there is one:
	present bool
	equal   bool             // it is as the patch would have it
	sum     dataset.Checksum // its part of the state checksum
	payload uint64           // bytes of its key and value
}

// lookup finds the present records of version rec, which c leads to, for a batch in order. It reads the blocks that a
// key may be in: of every delta, and of the snapshot those of keys that no delta has.
func (p *Publisher) lookup(ctx context.Context, rec dataset.VersionRecord, c chain, batch []wanted) error {
	deltas := make([]*file, len(c.deltas))
	opening := pool.New().WithContext(ctx).WithMaxGoroutines(lookupLanes).WithCancelOnError().WithFirstError()
	for i, o := range c.deltas {
		opening.Go(func(ctx context.Context) (err error) {
			deltas[i], err = p.files.open(ctx, o, uint64(rec.Seed))
			return err
		})
	}
	if err := opening.Wait(); err != nil {
		return err
	}
	// Each delta is searched into answers of its own: blocks of several are read at a time.
	answers := make([][]wanted, len(deltas))
	reading := pool.New().WithContext(ctx).WithMaxGoroutines(lookupLanes).WithCancelOnError().WithFirstError()
	for i, f := range deltas {
		answers[i] = make([]wanted, len(batch))
		p.search(reading, f, batch, answers[i])
	}
	if err := reading.Wait(); err != nil {
		return err
	}
	var open []wanted // not in any delta
	var places []int
	for i := range batch {
		for j := len(answers) - 1; j >= 0 && !batch[i].found; j-- {
			if answers[j][i].found {
				batch[i] = answers[j][i]
			}
		}
		if !batch[i].found {
			open, places = append(open, batch[i]), append(places, i)
		}
	}
	if len(open) == 0 {
		return nil
	}
	base, err := p.files.open(ctx, c.snapshot, uint64(rec.Seed))
	if err != nil {
		return err
	}
	reading = pool.New().WithContext(ctx).WithMaxGoroutines(lookupLanes).WithCancelOnError().WithFirstError()
	found := make([]wanted, len(open))
	p.search(reading, base, open, found)
	if err := reading.Wait(); err != nil {
		return err
	}
	for i, at := range places {
		if found[i].found {
			batch[at] = found[i]
		}
	}
	return nil
}

// search starts to read each block of f that a key of batch may be in, and to put what it finds into answers.
func (p *Publisher) search(reading *pool.ContextPool, f *file, batch, answers []wanted) {
	for i := 0; i < len(batch); {
		block, ok := f.index.Block(batch[i].hash)
		end := i + 1
		for end < len(batch) {
			if next, also := f.index.Block(batch[end].hash); next != block || also != ok {
				break
			}
			end++
		}
		if ok {
			from := i
			reading.Go(func(ctx context.Context) error {
				s, err := p.files.block(ctx, f, block)
				if err != nil {
					return err
				}
				if err := find(s, batch[from:end], answers[from:end]); err != nil {
					return fmt.Errorf("read object %s: %w", f.object.Digest, err)
				}
				return nil
			})
		}
		i = end
	}
}

// find walks through a block for the keys of batch, both in order.
func find(s snapshot.Stored, batch, answers []wanted) error {
	raw, err := s.Decode(nil)
	if err != nil {
		return err
	}
	w := s.Walk(raw)
	var buf []byte
	i := 0
	for w.Next() {
		r := w.Record()
		for i < len(batch) && compareKeys(batch[i].hash, batch[i].Key, w.Hash(), r.Key) < 0 {
			i++
		}
		if i == len(batch) || compareKeys(batch[i].hash, batch[i].Key, w.Hash(), r.Key) != 0 {
			continue
		}
		a := batch[i]
		a.found = true
		if !r.Removed {
			a.present = true
			a.equal = !a.Removed && bytes.Equal(a.Value, r.Value)
			a.payload = uint64(len(r.Key) + len(r.Value))
			buf = dataset.AppendRecord(buf[:0], r)
			a.sum.Add(s.Header.Seed, buf)
		}
		answers[i] = a
		i++
	}
	return w.Err()
}

func compareKeys(hash uint64, key []byte, otherHash uint64, other []byte) int {
	if hash != otherHash {
		return cmp.Compare(hash, otherHash)
	}
	return bytes.Compare(key, other)
}
