package publish

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"sync"

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
	answer
}

// answer is what the newest file that has an entry says.
type answer struct {
	from int // the number of that file in the chain, the snapshot's being 1; 0 if none has an entry
	// Of the present record, if there is one:
	present bool
	equal   bool             // it is as the patch would have it
	sum     dataset.Checksum // its part of the state checksum
	payload uint64           // bytes of its key and value
}

// lookup finds the present records of version rec, which c leads to, for a batch in order. It reads the blocks that a
// key may be in: of every delta, and of the snapshot those of keys that no delta has.
func (p *Publisher) lookup(ctx context.Context, rec dataset.VersionRecord, c chain, batch []wanted) error {
	deltas, err := p.files.all(ctx, uint64(rec.Seed), c.deltas)
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards the answers: blocks of several files are read at a time
	reading := lanes(ctx)
	for i, f := range deltas {
		p.search(reading, f, i+2, batch, &mu)
	}
	if err := reading.Wait(); err != nil {
		return err
	}
	var open []wanted // not in any delta
	var places []int
	for i := range batch {
		if batch[i].from == 0 {
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
	reading = lanes(ctx)
	p.search(reading, base, 1, open, &mu)
	if err := reading.Wait(); err != nil {
		return err
	}
	for i, at := range places {
		batch[at] = open[i]
	}
	return nil
}

func lanes(ctx context.Context) *pool.ContextPool {
	return pool.New().WithContext(ctx).WithMaxGoroutines(lookupLanes).WithCancelOnError().WithFirstError()
}

// search starts to read each block of f that a key of batch may be in, and to answer what it finds. The number of f tells
// which answer is the newest.
func (p *Publisher) search(reading *pool.ContextPool, f *file, number int, batch []wanted, mu *sync.Mutex) {
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
			keys := batch[i:end]
			reading.Go(func(ctx context.Context) error {
				s, err := p.files.block(ctx, f, block)
				if err != nil {
					return err
				}
				if err := p.files.decode(s, func(raw []byte) error { return find(s, raw, number, keys, mu) }); err != nil {
					return p.doubts.failed(f.object, fmt.Errorf("read object %s: %w", f.object.Digest, err))
				}
				return nil
			})
		}
		i = end
	}
}

// find walks through a block for keys, both in order, up to where the last one stands or would.
func find(s snapshot.Stored, raw []byte, number int, keys []wanted, mu *sync.Mutex) error {
	w := s.Walk(raw)
	var buf []byte
	i := 0
	for i < len(keys) && w.Next() {
		for i < len(keys) && compareKeys(keys[i].hash, keys[i].Key, w.Hash(), w.Key()) < 0 {
			i++
		}
		if i == len(keys) || compareKeys(keys[i].hash, keys[i].Key, w.Hash(), w.Key()) != 0 {
			continue
		}
		r := w.Record()
		a := answer{from: number}
		if !r.Removed {
			a.present = true
			a.equal = !keys[i].Removed && bytes.Equal(keys[i].Value, r.Value)
			a.payload = uint64(len(r.Key) + len(r.Value))
			buf = dataset.AppendRecord(buf[:0], r)
			a.sum.Add(s.Header.Seed, buf)
		}
		mu.Lock()
		if number > keys[i].from {
			keys[i].answer = a
		}
		mu.Unlock()
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
