package versions

import (
	"bytes"
	"cmp"
	"context"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"github.com/sourcegraph/conc/pool"
)

// maxReaders is how many blocks are read at a time: a request to a bucket takes some tens of milliseconds, mostly of waiting.
const maxReaders = 16

// Query is a record of a patch, and what Lookup finds of the present record with its key.
type Query struct {
	dataset.Record
	Hash uint64 // of the key
	Present
}

// Present describes the record that a version has for a key.
type Present struct {
	Exists  bool
	Equal   bool             // the record equals the one in the Query
	Sum     dataset.Checksum // its part of the state checksum
	Payload uint64           // bytes of its key and value
	Held    []byte           // its value, if it differs and Fetch has copied it; else nil

	file int // number in the chain of the newest file with an entry; the snapshot's is 1; 0 if no file has one
}

// Lookup finds the present records of the version of rec, which c leads to, for queries in order. It reads the blocks that a
// key may be in: of every delta, and of the snapshot only for keys that no delta has. The queries share each block, so that a
// block is read once for all of them.
func (b *Blocks) Lookup(ctx context.Context, rec dataset.VersionRecord, c Chain, queries []Query) error {
	return b.Fetch(ctx, rec, c, queries, 0)
}

// Fetch is Lookup that also copies the values of present records that differ to Held, as long as they have fewer than most bytes together.
// With a most above [dataset.MaxValueBytes] it always copies the value for a single query.
func (b *Blocks) Fetch(ctx context.Context, rec dataset.VersionRecord, c Chain, queries []Query, most int64) error {
	deltas, err := b.Open(ctx, uint64(rec.Seed), c.Deltas)
	if err != nil {
		return err
	}
	to := &answers{room: most}
	readers := newReaders(ctx)
	for i, f := range deltas {
		b.search(readers, f, i+2, queries, to)
	}
	if err := readers.Wait(); err != nil {
		return err
	}
	var open []Query // not in any delta
	var places []int
	for i := range queries {
		if queries[i].file == 0 {
			open, places = append(open, queries[i]), append(places, i)
		}
	}
	if len(open) == 0 {
		return nil
	}
	base, err := b.open(ctx, c.Snapshot, uint64(rec.Seed))
	if err != nil {
		return err
	}
	readers = newReaders(ctx)
	b.search(readers, base, 1, open, to)
	if err := readers.Wait(); err != nil {
		return err
	}
	for i, at := range places {
		queries[at] = open[i]
	}
	return nil
}

func newReaders(ctx context.Context) *pool.ContextPool {
	return pool.New().WithContext(ctx).WithMaxGoroutines(maxReaders).WithCancelOnError().WithFirstError()
}

// search starts to read each block of f that a key of queries may be in, and to answer them. The answer of the file with the
// highest number is the newest.
func (b *Blocks) search(readers *pool.ContextPool, f *File, number int, queries []Query, to *answers) {
	for i := 0; i < len(queries); {
		block, ok := f.index.Block(queries[i].Hash)
		end := i + 1
		for end < len(queries) {
			if next, also := f.index.Block(queries[end].Hash); next != block || also != ok {
				break
			}
			end++
		}
		if ok {
			same := queries[i:end]
			readers.Go(func(ctx context.Context) error {
				s, err := b.block(ctx, f, block)
				if err != nil {
					return err
				}
				if err := b.decode(s, func(raw []byte) error { return to.walk(s, raw, number, same) }); err != nil {
					return b.failed(f, err)
				}
				return nil
			})
		}
		i = end
	}
}

// answers guards the answers to the queries of one Fetch: blocks of several files are read at a time.
type answers struct {
	mu   sync.Mutex
	room int64 // bytes of values that may still be copied; guarded by mu
}

// walk walks through a block for the queries, both in order, up to the place of the last one.
func (a *answers) walk(s snapshot.Stored, raw []byte, number int, queries []Query) error {
	w := s.Walk(raw)
	var buf []byte
	i := 0
	for i < len(queries) && w.Next() {
		for i < len(queries) && compareKeys(queries[i].Hash, queries[i].Key, w.Hash(), w.Key()) < 0 {
			i++
		}
		if i == len(queries) || compareKeys(queries[i].Hash, queries[i].Key, w.Hash(), w.Key()) != 0 {
			continue
		}
		r := w.Record()
		p := Present{file: number}
		if !r.Removed {
			p.Exists = true
			p.Equal = !queries[i].Removed && bytes.Equal(queries[i].Value, r.Value)
			p.Payload = uint64(len(r.Key) + len(r.Value))
			buf = dataset.AppendRecord(buf[:0], r)
			p.Sum.Add(s.Header.Seed, buf)
		}
		a.answer(&queries[i], p, r)
		i++
	}
	return w.Err()
}

// answer sets the answer to q, unless a newer file has answered it. P describes r.
func (a *answers) answer(q *Query, p Present, r dataset.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.file <= q.file {
		return
	}
	a.room += int64(len(q.Held))
	if p.Exists && !p.Equal && int64(len(r.Value)) < a.room {
		p.Held = append(make([]byte, 0, len(r.Value)), r.Value...)
		a.room -= int64(len(r.Value))
	}
	q.Present = p
}

func compareKeys(hash uint64, key []byte, otherHash uint64, other []byte) int {
	if hash != otherHash {
		return cmp.Compare(hash, otherHash)
	}
	return bytes.Compare(key, other)
}
