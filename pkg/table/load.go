package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/sourcegraph/conc"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
)

// ErrKind is returned when the file of [Load] is not a snapshot, or the file of [Apply] is not a delta.
var ErrKind = errors.New("wrong kind of file")

// Config configures Load and Apply. The zero value is right for most callers.
type Config struct {
	// Version is the result of [Table.Version].
	Version uint64
	// Workers is the number of goroutines that decode, verify and index; 0 means GOMAXPROCS, at most 4.
	Workers int
	// NoHugePages turns off huge pages. On Linux, a table of more than some 8 MiB requests them for its slabs, and a table
	// of more than some 100 MiB for the memory that deltas add. They take up to a fifth off a lookup in a large table and a
	// quarter off its load. Turn them off where memory returned to the system matters more: the kernel may refill a partly
	// freed huge page.
	NoHugePages bool
	// Lane bounds the processors that decode and index, together with the other work in it; nil does not. Each worker has a place in it
	// while it works, yields after some hundreds of records, and waits for blocks of the file without one.
	Lane *lane.Lane
}

// maxWorkers bounds the default of Config.Workers: the goroutine that reads the file and computes its digest cannot keep
// more workers busy.
const maxWorkers = 4

// Load builds a table from the snapshot that r reads. It reads on the caller's goroutine, and decodes, verifies and
// indexes blocks on others, which end before Load returns. In addition to the table it needs memory for two compressed
// blocks and a zstd decoder per worker.
//
// Load returns a table only if r has reached its end, which verifies every byte of the file, and if the records' number,
// sizes and state checksum agree with the footer. Otherwise its error wraps that of r, [snapshot.ErrCorrupt], [ErrKind] or
// ctx's cause. Load returns a panic, also one in r's input, as an error. It checks ctx between two blocks; a read that
// may block for long should end with ctx itself.
func Load(ctx context.Context, r *snapshot.Reader, cfg Config) (*Table, error) {
	l := newLoader(r, cfg)
	t, err := l.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load table of version %d: %w", cfg.Version, err)
	}
	return t, nil
}

// numbered is a partition and its number in the snapshot.
type numbered struct {
	number    int
	partition *partition
}

type loader struct {
	reader  *snapshot.Reader
	header  snapshot.Header
	version uint64
	workers int

	// blocks carries blocks to the workers; buffers carries the memory of their stored bytes back. buffers initially holds
	// all buffers, which bounds the memory of blocks in flight.
	blocks  chan snapshot.Stored
	buffers chan []byte
	huge    *hugePages // nil if the table requests no huge pages
	lane    *lane.Lane

	mu    sync.Mutex
	built []numbered     // guarded by mu
	sum   snapshot.Tally // guarded by mu
}

// hugeBits is the least number of partition bits for huge pages: 32 partitions, some 8 MiB. The unused rest of the first
// and the last huge page is then small in comparison.
const hugeBits = 5

// hugeAllBits is the least number of partition bits for which a delta requests huge pages also for indexes, patches and
// its own decoded entries: 512 partitions, some 100 MiB. Otherwise a slab that later reuses such memory finds it already
// backed by small pages, and gets no huge page. In a smaller table a lookup gains less from huge pages, and a huge page
// that is barely used is a larger part of the memory of a refresh. With exactly hugeAllBits, the first delta after a
// load does not request them: it adds the most memory, because it has none to reuse yet.
const hugeAllBits = 9

func newLoader(r *snapshot.Reader, cfg Config) *loader {
	workers := cfg.Workers
	if workers <= 0 {
		workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	l := &loader{
		reader: r, header: r.Header(), version: cfg.Version, workers: workers, lane: cfg.Lane,
		blocks: make(chan snapshot.Stored, workers), buffers: make(chan []byte, 2*workers+1),
	}
	for range cap(l.buffers) {
		l.buffers <- nil
	}
	if !cfg.NoHugePages && l.header.Bits >= hugeBits {
		l.huge = new(hugePages)
	}
	return l
}

func (l *loader) load(ctx context.Context) (*Table, error) {
	if l.header.Kind != snapshot.Snapshot {
		return nil, fmt.Errorf("%w: want a snapshot, got a %v", ErrKind, l.header.Kind)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	var workers conc.WaitGroup
	err := guard.Try(func() error { return l.read(ctx, func() { workers.Go(func() { l.work(ctx, stop) }) }) })
	close(l.blocks)
	workers.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := l.reader.Check(l.sum); err != nil {
		return nil, err
	}
	if err := l.checkBits(); err != nil {
		return nil, err
	}
	t := assemble(l.header, l.built, l.sum, l.version)
	t.huge = l.huge
	return t, nil
}

// read sends every block of the file to the workers. It calls startWorker when there is work for one more.
func (l *loader) read(ctx context.Context, startWorker func()) error {
	for started := 0; ; started++ {
		var buf []byte
		select {
		case buf = <-l.buffers:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		block, err := l.reader.Next(buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if started < l.workers {
			startWorker()
		}
		select {
		case l.blocks <- block:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// work builds a partition from each block, and calls fail with the first error.
func (l *loader) work(ctx context.Context, fail func(error)) {
	for block := range l.blocks {
		if err := guard.Try(func() error { return l.buildAll(ctx, block) }); err != nil {
			fail(err)
			return
		}
	}
}

// buildAll builds partitions from block and from those that can be received without waiting, in the lane.
func (l *loader) buildAll(ctx context.Context, block snapshot.Stored) error {
	ctx, leave, err := l.lane.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for {
		if err := l.build(ctx, block); err != nil {
			return err
		}
		lane.Yield(ctx)
		var ok bool
		select {
		case block, ok = <-l.blocks:
		default:
		}
		if !ok {
			return nil
		}
	}
}

func (l *loader) build(ctx context.Context, block snapshot.Stored) error {
	slab := newSlab(block.RawBytes + snapshot.DecodeSlack)
	l.huge.advise(unsafe.Pointer(unsafe.SliceData(slab)), cap(slab))
	p, sum, err := decodePartition(ctx, block, slab)
	if err != nil {
		return err
	}
	l.buffers <- block.Bytes // never blocks: the channel has capacity for all buffers
	l.mu.Lock()
	defer l.mu.Unlock()
	l.built = append(l.built, numbered{block.Partition, p})
	l.sum.Merge(sum)
	return nil
}

// The runtime's page size, and its largest size class below whole pages.
const (
	runtimePage = 8 << 10
	pagedSlab   = 32 << 10
)

// newSlab returns an empty slice with capacity for n bytes, or more if the allocator rounds up.
func newSlab(n int) []byte {
	if n <= pagedSlab {
		return slices.Grow([]byte(nil), n)
	}
	return make([]byte, 0, (n+runtimePage-1)&^(runtimePage-1)) // slices.Grow would clear the memory, and so touch it
}

// checkBits refuses a file whose directory, 1<<Bits entries of 8 bytes, would be much larger than the file itself. A
// writer aims at some 256 KiB raw for each partition.
func (l *loader) checkBits() error {
	if bytes := int64(8) << l.header.Bits; l.header.Bits > dataset.GroupBits &&
		bytes > l.reader.Totals().FileBytes {
		return fmt.Errorf("%w: %d partition bits in a file of %d bytes", snapshot.ErrCorrupt, l.header.Bits, l.reader.Totals().FileBytes)
	}
	return nil
}
