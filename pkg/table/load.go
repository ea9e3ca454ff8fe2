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
	"freshet.dev/pkg/snapshot"
)

// ErrKind is wrapped when [Load] is given a file that is no snapshot, or [Apply] one that is no delta.
var ErrKind = errors.New("not the kind of file that is wanted here")

// Config says how a table is made. Its zero value is what most want.
type Config struct {
	// Version is what [Table.Version] will return.
	Version uint64
	// Workers is the number of goroutines that decode, verify and index; 0 means GOMAXPROCS, at most 4.
	Workers int
	// NoHugePages turns off asking the kernel for huge pages, which on Linux a table of more than some 8 MiB does for
	// its slabs, and one of more than some 100 MiB for what deltas add. They take up to a fifth off a lookup in a large
	// table and a quarter off its load. Turn them off where memory that has been given back to the system counts more:
	// the kernel may fill a partly freed huge page again.
	NoHugePages bool
}

// maxWorkers is the default's limit: what reads and checks the file's digest cannot feed more.
const maxWorkers = 4

// Load builds a table from the snapshot that r reads, while it reads: r is used on the caller's goroutine, and blocks
// are decoded, verified and indexed on others, which are gone when Load returns. Beside the table it needs memory for
// two compressed blocks and a zstd decoder per worker.
//
// It returns a table only if r came to its end, which proves every byte of the file, and if the records' number, sizes
// and state checksum are what the file says. Otherwise its error wraps that of r, [snapshot.ErrCorrupt], [ErrKind] or
// ctx's cause; a panic, also one in r's input, is returned as an error. Load notices the end of ctx between two blocks; a
// read that may block for long should heed ctx itself.
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

	// blocks carries what was read to the workers, buffers the memory of the stored bytes back. buffers is filled at
	// first with all there are: that bounds the memory of blocks under way.
	blocks  chan snapshot.Stored
	buffers chan []byte
	huge    *hugePages // nil: do not ask for huge pages

	mu    sync.Mutex
	built []numbered     // guarded by mu
	sum   snapshot.Tally // guarded by mu
}

// hugeBits is the number of partition bits from which on huge pages are asked for: 32 partitions, some 8 MiB. The
// unused rest of the first and the last huge page is then a small part.
const hugeBits = 5

// hugeAllBits is the number of partition bits from which on a delta asks for them also for indexes, patches and what it
// is decoded into: 512 partitions, some 100 MiB. A slab that takes the place of such memory later would find it
// touched page by page, and get no huge page. In a smaller table huge pages are worth less to a lookup, and one that
// is begun for little is a larger part of what a refresh adds. In one that just has the bits, the first delta after
// a load does without: it adds the most to the memory, as there is nothing yet that it could reuse.
const hugeAllBits = 9

func newLoader(r *snapshot.Reader, cfg Config) *loader {
	workers := cfg.Workers
	if workers <= 0 {
		workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	l := &loader{
		reader: r, header: r.Header(), version: cfg.Version, workers: workers,
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
		return nil, fmt.Errorf("%w: it is a %v", ErrKind, l.header.Kind)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	var workers conc.WaitGroup
	err := guard.Try(func() error { return l.read(ctx, func() { workers.Go(func() { l.work(stop) }) }) })
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

// read hands every block of the file to the workers. It calls startWorker when there is work for one more.
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

// work builds a partition of every block until there are no more, and calls fail at the first that is refused.
func (l *loader) work(fail func(error)) {
	for block := range l.blocks {
		if err := guard.Try(func() error { return l.build(block) }); err != nil {
			fail(err)
			return
		}
	}
}

func (l *loader) build(block snapshot.Stored) error {
	slab := newSlab(block.RawBytes + snapshot.DecodeRoom)
	l.huge.advise(unsafe.Pointer(unsafe.SliceData(slab)), cap(slab))
	p, sum, err := decodePartition(block, slab)
	if err != nil {
		return err
	}
	l.buffers <- block.Bytes // never blocks: there is room for all buffers
	l.mu.Lock()
	defer l.mu.Unlock()
	l.built = append(l.built, numbered{block.Partition, p})
	l.sum.Merge(sum)
	return nil
}

// newSlab returns an empty slice with room for n bytes, and for more if the allocator rounds up.
func newSlab(n int) []byte {
	const page, small = 8 << 10, 32 << 10 // the runtime's page size, and what it does not round up to pages
	if n <= small {
		return slices.Grow([]byte(nil), n)
	}
	return make([]byte, 0, (n+page-1)&^(page-1)) // not Grow, which touches (clears) what it returns
}

// checkBits refuses a directory much larger than the file: 1<<Bits entries of 8 bytes, whatever the file holds. A
// writer aims at some 256 KiB raw for each partition.
func (l *loader) checkBits() error {
	if bytes := int64(8) << l.header.Bits; l.header.Bits > dataset.GroupBits &&
		bytes > l.reader.Totals().FileBytes {
		return fmt.Errorf("%w: %d partition bits in a file of %d bytes", snapshot.ErrCorrupt, l.header.Bits, l.reader.Totals().FileBytes)
	}
	return nil
}
