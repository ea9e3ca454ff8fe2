package snapshot

import (
	"bytes"
	"fmt"
	"io"
	"runtime"

	"github.com/sourcegraph/conc/stream"
	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
)

// WriterConfig says what a Writer writes.
type WriterConfig struct {
	Kind Kind
	// Seed is the seed of the dataset's hash.
	Seed uint64
	// RawBytes is the expected sum of the records' [dataset.Record.EncodedBytes]. It sets the number of partitions;
	// a guess that is off by half makes blocks of unusual size and does no other harm.
	RawBytes int64
	// Base is the state checksum of the version that a delta starts from; zero for a snapshot.
	Base dataset.Checksum
	// Workers is the number of blocks compressed at a time; 0 means GOMAXPROCS.
	Workers int
}

// Writer writes a snapshot or a delta. It is used by one goroutine, and owns up to Workers+1 others from the first
// block to Close, CloseDelta or Abort, one of which must be called.
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
	lastKey  []byte // lies in raw; nil before the block's first entry

	tally Tally
}

// buffers hold a block from its first entry until it is written.
type buffers struct{ raw, frame []byte }

// NewWriter returns a Writer that writes to w, in order and from one goroutine at a time. It writes the header.
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
		// A stream runs Workers tasks and queues the results of as many and two more.
		idle:    make(chan *buffers, 2*cfg.Workers+2),
		buffers: new(buffers),
	}
	wr.out.write(wr.header.append(nil))
	return wr, wr.out.failed()
}

// Header returns the header of the file being written.
func (w *Writer) Header() Header { return w.header }

// Add appends the record r, which must come after all before it in (hash, key), or in a delta the removal r. It
// copies what it keeps. Its error wraps [dataset.ErrRecord], [ErrOrder], [ErrRemoval] or [ErrBlockSize], and the
// Writer goes on without r; or it is that of an earlier write of a block, and then Add and Close go on failing.
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
		remedy := fmt.Sprintf("RawBytes was given as %d and should be larger", w.cfg.RawBytes)
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

// cut hands the block being filled, if it has entries, to a worker, and begins an empty one.
func (w *Writer) cut() error {
	if w.entries == 0 {
		return w.out.failed()
	}
	b, p := w.buffers, prefix{partition: w.partition, raw: uint32(len(w.raw)), entries: w.entries}
	w.stream.Go(func() stream.Callback {
		b.frame = compress(b.raw, b.frame[:0])
		p.stored, p.storedSum, p.rawSum = uint32(len(b.frame)), xxh3.Hash(b.frame), xxh3.Hash(b.raw)
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

// Close ends a snapshot: it writes what is left and the footer, and returns the totals with the file's digest. It
// does not close or sync what it writes to.
func (w *Writer) Close() (Totals, error) {
	if w.header.Kind != Snapshot {
		w.Abort()
		return Totals{}, fmt.Errorf("%w: close delta: CloseDelta takes the state that it leads to", ErrFormat)
	}
	return w.close(w.tally.State)
}

// CloseDelta ends a delta that leads to a version whose state checksum is result; see Close.
func (w *Writer) CloseDelta(result dataset.Checksum) (Totals, error) {
	if w.header.Kind != Delta {
		w.Abort()
		return Totals{}, fmt.Errorf("%w: close snapshot: its state follows from its records; use Close", ErrFormat)
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
		return Totals{}, fmt.Errorf("write %v: no such change of state: %w", w.header.Kind, err)
	}
	return w.out.footer(t)
}

// Abort ends the writing without a footer: what has been written is refused by every reader. It waits for the
// Writer's goroutines, and does nothing after Close.
func (w *Writer) Abort() {
	if w.closed {
		return
	}
	w.closed = true
	w.stream.Wait()
}
