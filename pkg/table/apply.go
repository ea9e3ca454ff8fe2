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
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
)

// Errors of [Apply] for an intact delta. In both cases the caller can load the snapshot of the version instead.
var (
	// ErrBase is returned when the delta applies to another version than the table's: their seeds or states differ.
	ErrBase = errors.New("the delta starts from another version")
	// ErrState is returned when the delta does not lead to the state in its footer.
	ErrState = errors.New("the delta leads to another state than it says")
)

// Apply applies the delta that r reads to the table base, and returns the table of the resulting version. Time and memory
// depend on the delta: the new table shares all unchanged parts with base. base does not change, and may be used
// concurrently, also for other calls of Apply. To apply several deltas, apply each to the result of the one before.
//
// Apply reads on the caller's goroutine, and works there and on others, up to cfg.Workers, which end before Apply returns.
// It builds nothing before r has reached its end and every checksum has been verified. Then it needs memory for the
// decoded delta, and for the parts that the new table does not share.
//
// Apply returns a table only if the records' number, sizes and state checksum agree with the footer. Otherwise its error
// wraps that of r, [snapshot.ErrCorrupt], [ErrKind], [ErrBase], [ErrState] or ctx's cause. Apply returns a panic, also one in
// r's input, as an error. The removal of a record that base lacks, and an upsert of an unchanged record, have no effect
// and are not errors: the state checksum decides.
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
	return t, &Changes{old: base, new: t, deltas: [][]snapshot.Stored{a.blocks}, forward: true, replaced: a.edited.unshared + a.working()}, nil
}

type applier struct {
	base    *Table
	version uint64
	workers int
	huge    *hugePages // of slabs; nil if Apply requests none
	hugeAll *hugePages // of all other memory of a delta; nil if Apply requests none
	lane    *lane.Lane

	blocks  []snapshot.Stored
	raw     []byte  // all blocks, decoded
	entries []entry // of all blocks, in order

	// maxBits bounds the bits of the partitions that a split creates.
	maxBits uint8
	// budget is the remaining number of bytes for rebuilding partitions that could also wait.
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

// edited is the result of editing a part of the partitions.
type edited struct {
	replacements []replacement
	// state, payload and bytes are differences to those of the base. state does not include the delta's upserts.
	state          dataset.Checksum
	payload, bytes int64
	// unshared is the memory of replaced partitions that their replacements do not share.
	unshared int64
}

// replacement replaces the directory entries [first, end) by partitions of equal ranges.
type replacement struct {
	first, end int
	by         []*partition
}

func newApplier(base *Table, cfg Config) *applier {
	a := &applier{base: base, version: cfg.Version, workers: cfg.Workers, lane: cfg.Lane}
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
		return nil, fmt.Errorf("%w: want a delta, got a %v", ErrKind, r.Header().Kind)
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
		return nil, fmt.Errorf("%w: the footer says %v, the entries lead to %v", ErrState, totals.State, state)
	}
	return a.assemble(state), nil
}

// working returns the working memory of apply, which is garbage afterwards.
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
		size.raw += b.RawBytes + snapshot.DecodeSlack
		size.entries += b.Entries
	}
	a.raw, a.entries = make([]byte, 0, size.raw), make([]entry, 0, size.entries)
	a.hugeAll.advise(unsafe.Pointer(unsafe.SliceData(a.raw)), cap(a.raw))
	a.hugeAll.advise(unsafe.Pointer(unsafe.SliceData(a.entries)), cap(a.entries)*int(unsafe.Sizeof(entry{})))
	a.raw, a.entries = a.raw[:size.raw], a.entries[:size.entries]

	var sum snapshot.Tally
	err := a.each(ctx, len(a.blocks), func(ctx context.Context) func(int) error {
		return func(i int) error {
			b, at := a.blocks[i], spans[i]
			raw, err := b.Decode(a.raw[at.raw : at.raw : at.raw+b.RawBytes+snapshot.DecodeSlack])
			if err != nil {
				return err
			}
			es := a.entries[at.entries : at.entries : at.entries+b.Entries]
			w := b.Walk(raw)
			for w.Next() {
				es = append(es, entry{hash: w.Hash(), off: at.raw + w.Offset(), size: len(w.Encoded())})
				if len(es)%yieldRecords == 0 {
					lane.Yield(ctx)
				}
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

// removal reports whether e is a removal; see package dataset for the encoding.
func (a *applier) removal(e *entry) bool { return a.raw[e.off]&1 == 1 }

// edit edits the partitions that the delta has entries for.
func (a *applier) edit(ctx context.Context) error {
	parts := a.split()
	return a.each(ctx, len(parts), func(ctx context.Context) func(int) error {
		e := editor{applier: a, ctx: ctx}
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
	d.replacements = append(d.replacements, o.replacements...)
	d.state.Merge(o.state)
	d.payload += o.payload
	d.bytes += o.bytes
	d.unshared += o.unshared
}

// split splits the entries into parts for the workers. All entries of a partition are in one part.
func (a *applier) split() (parts [][]entry) {
	const least = 64 // fewer entries are not worth a goroutine
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

// assemble returns the table with the edited partitions and the given state.
func (a *applier) assemble(state dataset.Checksum) *Table {
	t := *a.base
	t.version, t.state, t.huge, t.patched = a.version, state, a.huge, true
	t.payload += a.edited.payload
	t.bytes += a.edited.bytes
	dirBits := t.dirBits()
	for _, d := range a.edited.replacements {
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
	for _, d := range a.edited.replacements {
		part := t.partitions[d.first<<more : d.end<<more]
		for i := range part {
			part[i] = d.by[i*len(d.by)/len(part)]
		}
	}
	return &t
}

// each calls a function for every number below n, on up to a.workers goroutines in the lane. Each goroutine gets its own function
// from worker, for its context. each returns the first error.
func (a *applier) each(ctx context.Context, n int, worker func(context.Context) func(int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	work := func() {
		err := guard.Try(func() error {
			ctx, leave, err := a.lane.Enter(ctx)
			if err != nil {
				return err
			}
			defer leave()
			f := worker(ctx)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					break
				}
				if err := f(i); err != nil {
					return err
				}
				lane.Yield(ctx)
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
