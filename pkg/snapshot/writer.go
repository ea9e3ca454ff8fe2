package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/sourcegraph/conc/stream"
	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
)

// WriterConfig configures a Writer.
type WriterConfig struct {
	Kind Kind
	// Seed is the seed of the dataset's hash.
	Seed uint64
	// RawBytes is the expected sum of the records' [dataset.Record.EncodedBytes]. It determines the number of partitions.
	// A guess that is off by half only changes the size of the blocks.
	RawBytes int64
	// Base is the state checksum of the version that a delta applies to; zero for a snapshot.
	Base dataset.Checksum
	// Workers is the number of blocks that are compressed concurrently; 0 means GOMAXPROCS.
	Workers int
	// Lane is where blocks are compressed, together with the other work in it; nil for none.
	Lane *lane.Lane
}

// Writer writes a snapshot or a delta. A Writer is for one goroutine. It owns up to Workers+1 goroutines until the caller
// calls Close, CloseDelta or Abort, which every Writer needs.
type Writer struct {
	cfg    WriterConfig
	header Header
	shift  uint
	out    *output
	stream *stream.Stream
	idle   chan *buffers // of blocks that have been written
	closed bool

	// The block being filled.
	partition uint32
	*buffers
	entries  uint32
	lastHash uint64
	lastKey  []byte // aliases raw; nil before the block's first entry

	tally Tally
}

// buffers hold a block from its first entry until it is written.
type buffers struct{ raw, frame []byte }

// NewWriter returns a Writer that writes to w, and writes the header. All writes are in order, one at a time.
func NewWriter(w io.Writer, cfg WriterConfig) (*Writer, error) {
	switch {
	case cfg.Kind != Snapshot && cfg.Kind != Delta:
		return nil, fmt.Errorf("write file: %w: %v; Kind is Snapshot or Delta", ErrFormat, cfg.Kind)
	case cfg.Kind == Snapshot && cfg.Base != dataset.Checksum{}:
		return nil, fmt.Errorf("write snapshot: Base is %v; only a delta starts from one", cfg.Base)
	case cfg.RawBytes < 0 || cfg.Workers < 0:
		return nil, fmt.Errorf("write %v: RawBytes is %d and Workers %d; neither can be negative", cfg.Kind, cfg.RawBytes, cfg.Workers)
	case cfg.Workers == 0:
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	bits := bitsFor(cfg.RawBytes)
	if bits == 0 {
		cfg.Workers = 1 // there is one block
	}
	wr := &Writer{
		cfg:    cfg,
		header: Header{Kind: cfg.Kind, Bits: bits, Seed: cfg.Seed},
		shift:  64 - uint(bits),
		out:    newOutput(w),
		stream: stream.New().WithMaxGoroutines(cfg.Workers),
		// A stream runs Workers tasks, and queues the results of Workers+2.
		idle:    make(chan *buffers, 2*cfg.Workers+2),
		buffers: new(buffers),
	}
	wr.out.write(wr.header.append(nil))
	return wr, wr.out.failed()
}

// Header returns the header of the file.
func (w *Writer) Header() Header { return w.header }

// Add appends the record or, in a delta, the removal r. Entries must be in strictly ascending order of (hash, key). Add
// copies r. An error that wraps [dataset.ErrRecord], [ErrOrder], [ErrRemoval] or [ErrBlockSize] refuses r only, and the
// Writer remains usable. Any other error is that of an earlier write, and Add and Close keep failing.
func (w *Writer) Add(r dataset.Record) error {
	if w.closed {
		return ErrClosed
	}
	if err := r.Check(); err != nil {
		return err
	}
	if r.Removed && w.header.Kind != Delta {
		return fmt.Errorf("%w: key %.64q", ErrRemoval, r.Key)
	}
	hash := dataset.Hash(w.header.Seed, r.Key)
	if hash < w.lastHash || hash == w.lastHash && w.lastKey != nil && bytes.Compare(r.Key, w.lastKey) <= 0 {
		return fmt.Errorf("%w: key %.64q (hash %016x) follows hash %016x; sort by (hash, key) with seed %016x", ErrOrder,
			r.Key, hash, w.lastHash, w.header.Seed)
	}
	size := r.EncodedBytes()
	if p := uint32(hash >> w.shift); p != w.partition {
		if err := w.cut(); err != nil {
			return err
		}
		w.partition = p
	} else if len(w.raw)+size > MaxBlockRaw {
		remedy := fmt.Sprintf("RawBytes is %d and should be larger", w.cfg.RawBytes)
		if w.header.Bits >= dataset.GroupBits {
			remedy = "publish shorter values for such keys"
		}
		return fmt.Errorf("%w: partition %d of %d has over %d bytes at key %.64q; %s",
			ErrBlockSize, p, 1<<w.header.Bits, MaxBlockRaw, r.Key, remedy)
	}
	start := len(w.raw)
	w.raw = dataset.AppendRecord(w.raw, r)
	key := start + size - len(r.Value) - len(r.Key)
	w.lastHash, w.lastKey = hash, w.raw[key:key+len(r.Key)]
	w.entries++
	w.tally.Entries++
	w.tally.RawBytes += uint64(size)
	w.tally.PayloadBytes += uint64(len(r.Key) + len(r.Value))
	if r.Removed {
		w.tally.Removals++
	} else {
		w.tally.State.Add(w.header.Seed, w.raw[start:])
	}
	return nil
}

// cut passes the current block to a worker, if it has entries, and starts an empty one.
func (w *Writer) cut() error {
	if w.entries == 0 {
		return w.out.failed()
	}
	b, p := w.buffers, prefix{partition: w.partition, raw: uint32(len(w.raw)), entries: w.entries}
	w.stream.Go(func() stream.Callback {
		w.compress(b, &p)
		return func() {
			w.out.block(p, b.frame)
			select {
			case w.idle <- b:
			default:
			}
		}
	})
	select {
	case w.buffers = <-w.idle:
		w.raw = w.raw[:0]
	default:
		w.buffers = &buffers{raw: make([]byte, 0, p.raw+p.raw/8)}
	}
	w.entries, w.lastKey = 0, nil
	return w.out.failed()
}

// compress fills b.frame, and the parts of p that depend on it, in the lane.
func (w *Writer) compress(b *buffers, p *prefix) {
	_, leave, err := w.cfg.Lane.Enter(context.Background())
	if err == nil { // always, because the context does not end
		defer leave()
	}
	b.frame = compress(b.raw, b.frame[:0])
	p.stored, p.storedSum, p.rawSum = uint32(len(b.frame)), xxh3.Hash(b.frame), xxh3.Hash(b.raw)
}

// Close ends a snapshot: it writes the last block and the footer, and returns the totals with the file's digest. It
// neither closes nor syncs the underlying writer.
func (w *Writer) Close() (Totals, error) {
	if w.header.Kind != Snapshot {
		w.Abort()
		return Totals{}, fmt.Errorf("%w: close delta: use CloseDelta, with the state that the delta leads to", ErrFormat)
	}
	return w.close(w.tally.State)
}

// CloseDelta ends a delta that leads to a version whose state checksum is result; see Close.
func (w *Writer) CloseDelta(result dataset.Checksum) (Totals, error) {
	if w.header.Kind != Delta {
		w.Abort()
		return Totals{}, fmt.Errorf("%w: close snapshot: use Close; the records determine the state", ErrFormat)
	}
	return w.close(result)
}

func (w *Writer) close(state dataset.Checksum) (Totals, error) {
	if w.closed {
		return Totals{}, ErrClosed
	}
	err := w.cut()
	w.Abort()
	if err == nil {
		err = w.out.failed()
	}
	if err != nil {
		return Totals{}, err
	}
	t := Totals{
		Entries: w.tally.Entries, Removals: w.tally.Removals, RawBytes: w.tally.RawBytes, PayloadBytes: w.tally.PayloadBytes,
		State: state, Base: w.cfg.Base,
	}
	if err := t.plausible(w.header.Kind); err != nil {
		return Totals{}, fmt.Errorf("write %v: impossible totals: %w", w.header.Kind, err)
	}
	return w.out.footer(t)
}

// Abort ends the file without a footer, so that every reader refuses it. Abort waits for the Writer's goroutines. It does
// nothing after Close.
func (w *Writer) Abort() {
	if w.closed {
		return
	}
	w.closed = true
	w.stream.Wait()
}
