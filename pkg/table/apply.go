package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/sourcegraph/conc"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/snapshot"
)

// Errors of [Apply] for a delta that is whole and undamaged. Loading the snapshot of the version helps in both cases.
var (
	// ErrBase is wrapped when a delta starts from another version than the table's: their seeds or states differ.
	ErrBase = errors.New("the delta starts from another version")
	// ErrState is wrapped when a delta does not lead to the state that it says it does.
	ErrState = errors.New("the delta leads to another state than it says")
)

// Apply builds the table of the version that the delta read by r leads to from the table base. It costs what the delta
// holds: the new table shares with base all that did not change. Base stays what it is, and it may be used, and other
// deltas be applied to it, at the same time. To apply several deltas, apply one to the result of the one before; the
// tables in between need not be used.
//
// r is used on the caller's goroutine, and the rest is done there and on others, up to cfg.Workers, which are gone when
// Apply returns. Nothing is built before r has come to its end and every checksum of it was right. Then Apply needs
// memory for the decoded delta beside what the new table does not share.
//
// It returns a table only if the records' number, sizes and state checksum are what the file says. Otherwise its error
// wraps that of r, [snapshot.ErrCorrupt], [ErrKind], [ErrBase], [ErrState] or ctx's cause; a panic, also one in r's input, is
// returned as an error. The removal of a record that base does not have, and an upsert of one as it is, change nothing
// and are no error: the state checksum decides.
func Apply(ctx context.Context, base *Table, r *snapshot.Reader, cfg Config) (*Table, *Changes, error) {
	a := newApplier(base, cfg)
	var t *Table
	err := guard.Try(func() (err error) {
		t, err = a.apply(ctx, r)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("apply delta for version %d to table of version %d: %w", cfg.Version, base.version, err)
	}
	return t, &Changes{old: base, new: t, deltas: [][]snapshot.Stored{a.blocks}, replaced: a.edited.unshared + a.working()}, nil
}

type applier struct {
	base    *Table
	version uint64
	workers int
	huge    *hugePages // nil: do not ask for huge pages
	hugeAll *hugePages // the same for all else that is made of a delta; nil if the table is not large

	blocks  []snapshot.Stored
	raw     []byte  // all blocks, decoded
	entries []entry // of all blocks, in order

	// maxBits is the most bits that a partition may be split to.
	maxBits uint8
	// budget is how many bytes of partitions may still be rebuilt that can wait.
	budget atomic.Int64

	mu     sync.Mutex
	edited edited // guarded by mu
}

// entry is an entry of the delta.
type entry struct {
	hash uint64
	off  int // in raw
	size int
}

// edited is what became of a part of the partitions.
type edited struct {
	partitions []replaced
	// state, payload and bytes are what they add to those of the table. The state is without what the delta adds.
	state          dataset.Checksum
	payload, bytes int64
	// unshared is how much of the memory of the partitions replaced those in their place do not share.
	unshared int64
}

// replaced is what stands in the place of the directory entries from first to before end: partitions of equal ranges.
type replaced struct {
	first, end int
	by         []*partition
}

func newApplier(base *Table, cfg Config) *applier {
	a := &applier{base: base, version: cfg.Version, workers: cfg.Workers}
	if a.workers <= 0 {
		a.workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	if !cfg.NoHugePages && base.dirBits() >= hugeBits {
		a.huge = base.huge
		if a.huge == nil {
			a.huge = new(hugePages)
		}
		if base.dirBits() > hugeAllBits || base.dirBits() == hugeAllBits && base.patched {
			a.hugeAll = a.huge
		}
	}
	return a
}

func (a *applier) apply(ctx context.Context, r *snapshot.Reader) (*Table, error) {
	if r.Header().Kind != snapshot.Delta {
		return nil, fmt.Errorf("%w: it is a %v", ErrKind, r.Header().Kind)
	}
	if err := a.read(ctx, r); err != nil {
		return nil, err
	}
	totals := r.Totals()
	if seed := r.Header().Seed; seed != a.base.seed || totals.Base != a.base.state {
		return nil, fmt.Errorf("%w: seed %016x, state %v; the table has %016x, %v", ErrBase, seed, totals.Base, a.base.seed, a.base.state)
	}
	sum, err := a.decode(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Check(sum); err != nil {
		return nil, err
	}
	a.plan(totals)
	if err := a.edit(ctx); err != nil {
		return nil, err
	}
	state := a.base.state
	state.Merge(sum.State)
	state.Merge(a.edited.state)
	if state != totals.State {
		return nil, fmt.Errorf("%w: it says %v, and leads to %v", ErrState, totals.State, state)
	}
	return a.assemble(state), nil
}

// working returns the bytes of memory that apply has used and nothing holds on to.
func (a *applier) working() int64 {
	return int64(len(a.raw)) + int64(len(a.entries))*int64(unsafe.Sizeof(entry{}))
}

// read reads the whole file.
func (a *applier) read(ctx context.Context, r *snapshot.Reader) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		block, err := r.Next(nil)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		a.blocks = append(a.blocks, block)
	}
}

// decode decodes and verifies every block.
func (a *applier) decode(ctx context.Context) (snapshot.Tally, error) {
	type span struct{ raw, entries int }
	var size span
	spans := make([]span, len(a.blocks))
	for i, b := range a.blocks {
		spans[i] = size
		size.raw += b.RawBytes + snapshot.DecodeRoom
		size.entries += b.Entries
	}
	a.raw, a.entries = make([]byte, 0, size.raw), make([]entry, 0, size.entries)
	a.hugeAll.advise(unsafe.Pointer(unsafe.SliceData(a.raw)), cap(a.raw))
	a.hugeAll.advise(unsafe.Pointer(unsafe.SliceData(a.entries)), cap(a.entries)*int(unsafe.Sizeof(entry{})))
	a.raw, a.entries = a.raw[:size.raw], a.entries[:size.entries]

	var sum snapshot.Tally
	err := a.each(ctx, len(a.blocks), func() func(int) error {
		return func(i int) error {
			b, at := a.blocks[i], spans[i]
			raw, err := b.Decode(a.raw[at.raw : at.raw : at.raw+b.RawBytes+snapshot.DecodeRoom])
			if err != nil {
				return err
			}
			es := a.entries[at.entries : at.entries : at.entries+b.Entries]
			w := b.Walk(raw)
			for w.Next() {
				es = append(es, entry{hash: w.Hash(), off: at.raw + w.Offset(), size: len(w.Encoded())})
			}
			if err := w.Err(); err != nil {
				return err
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			sum.Merge(w.Tally())
			return nil
		}
	})
	return sum, err
}

// encoded returns the encoding of e.
func (a *applier) encoded(e *entry) []byte { return a.raw[e.off : e.off+e.size : e.off+e.size] }

// removal reports whether e is one; see package dataset.
func (a *applier) removal(e *entry) bool { return a.raw[e.off]&1 == 1 }

// edit makes new partitions for those that the delta has entries for.
func (a *applier) edit(ctx context.Context) error {
	parts := a.split()
	return a.each(ctx, len(parts), func() func(int) error {
		e := editor{applier: a}
		return func(i int) error {
			e.edited = edited{}
			if err := e.edit(parts[i]); err != nil {
				return err
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.edited.merge(e.edited)
			return nil
		}
	})
}

func (d *edited) merge(o edited) {
	d.partitions = append(d.partitions, o.partitions...)
	d.state.Merge(o.state)
	d.payload += o.payload
	d.bytes += o.bytes
	d.unshared += o.unshared
}

// split splits the entries into parts for the workers, so that those of one partition are in one part.
func (a *applier) split() (parts [][]entry) {
	const least = 64 // fewer are not worth a goroutine
	n := max(least, len(a.entries)/(a.workers*8))
	for es := a.entries; len(es) > 0; {
		k := min(n, len(es))
		_, end := a.base.extent(int(es[k-1].hash >> a.base.shift))
		for k < len(es) && int(es[k].hash>>a.base.shift) < end {
			k++
		}
		parts, es = append(parts, es[:k]), es[k:]
	}
	return parts
}

// assemble makes the table.
func (a *applier) assemble(state dataset.Checksum) *Table {
	t := *a.base
	t.version, t.state, t.huge, t.patched = a.version, state, a.huge, true
	t.payload += a.edited.payload
	t.bytes += a.edited.bytes
	dirBits := t.dirBits()
	for _, d := range a.edited.partitions {
		for _, p := range d.by {
			if p.records > 0 {
				dirBits = max(dirBits, p.bits)
			}
		}
	}
	more := dirBits - t.dirBits()
	if more == 0 {
		t.partitions = slices.Clone(t.partitions)
	} else {
		t.partitions = make([]*partition, len(a.base.partitions)<<more)
		for i := range t.partitions {
			t.partitions[i] = a.base.partitions[i>>more]
		}
		t.shift -= more
		t.bytes += int64(len(t.partitions)-len(a.base.partitions)) * int64(unsafe.Sizeof(t.partitions[0]))
	}
	for _, d := range a.edited.partitions {
		part := t.partitions[d.first<<more : d.end<<more]
		for i := range part {
			part[i] = d.by[i*len(d.by)/len(part)]
		}
	}
	return &t
}

// each calls a function that worker returned with every number below n, on up to a.workers goroutines, each of which
// has its own. It returns the first error.
func (a *applier) each(ctx context.Context, n int, worker func() func(int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	work := func() {
		err := guard.Try(func() error {
			f := worker()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					break
				}
				if err := f(i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			stop(err)
		}
	}
	var others conc.WaitGroup
	for range min(a.workers, n) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	return context.Cause(ctx)
}
