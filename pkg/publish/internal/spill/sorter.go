package spill

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
)

// Limits of Config.MemoryBytes: some of the largest records must fit, and the place of a record in memory has 32 bits.
const (
	MinMemoryBytes = 4 << 20
	MaxMemoryBytes = 2 << 30
)

// Config configures a Sorter.
type Config struct {
	// Seed is the seed of the dataset's hash.
	Seed uint64
	// MemoryBytes bounds the records held in memory, between MinMemoryBytes and MaxMemoryBytes.
	MemoryBytes int64
	// Path returns the path of a file called name in the folder of the Sorter.
	Path func(name string) string
}

// Sorter collects records and then yields them in order. Its methods are for one goroutine, except NewRun and Reserve.
type Sorter struct {
	cfg    Config
	free   sync.Pool // of *Run: as many as are in flight, which the callers bound
	runs   []*Run    // in memory; nil once spilled or sorted
	held   int64
	sorted *sorted // nil until Records is called, and once spilled
	ranges *ranges // nil until spilled
	totals Totals
	line   int

	reserved atomic.Int64 // of Config.MemoryBytes, for other uses
}

// DuplicateError is returned for a duplicate key.
type DuplicateError struct {
	Key []byte
	// First and Second are its lines.
	First, Second int
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("key %.64q on line %d is on line %d already", e.Key, e.Second, e.First)
}

// New returns a Sorter without records.
func New(cfg Config) *Sorter { return &Sorter{cfg: cfg} }

// NewRun returns an empty run with space for records whose keys and values have about the given bytes. It may be called
// from any goroutine.
func (s *Sorter) NewRun(records, bytes int) *Run {
	r, ok := s.free.Get().(*Run)
	if !ok {
		r = &Run{seed: s.cfg.Seed}
	}
	// Lengths and line take 8 bytes at most for records of up to 16 KiB in the first 2 million lines.
	r.data = slices.Grow(r.data, bytes+8*records)
	r.items = slices.Grow(r.items, records)
	return r
}

// Add adds the run's records. The caller must not use the run afterwards.
func (s *Sorter) Add(r *Run) error {
	s.totals.add(r.totals)
	if s.ranges == nil {
		if s.held += r.memory(); s.held <= s.cfg.MemoryBytes-s.reserved.Load() {
			s.runs = append(s.runs, r)
			return nil
		}
		s.ranges = newRanges(s.cfg.Path("range"), 0)
		for _, held := range s.runs {
			if err := s.spill(held); err != nil {
				return err
			}
		}
		s.runs = nil
	}
	if err := s.spill(r); err != nil {
		return err
	}
	r.reset()
	s.free.Put(r)
	return nil
}

// Reserve makes later calls of Add hold so many bytes less than Config.MemoryBytes; records in memory stay there. It may be called from
// any goroutine.
func (s *Sorter) Reserve(bytes int64) { s.reserved.Store(bytes) }

func (s *Sorter) spill(r *Run) error {
	for i, it := range r.items {
		end := len(r.data)
		if i+1 < len(r.items) {
			end = int(r.items[i+1].at)
		}
		if err := s.ranges.add(it.hash, r.data[it.at:end]); err != nil {
			return err
		}
	}
	return nil
}

// Totals returns the totals of the added records.
func (s *Sorter) Totals() Totals { return s.totals }

// Records yields all records in order. It may be called again, and then reads and sorts spilled records again; no record may be added after
// the first call. A record is valid until the next one. Records ends with an error if it fails, which is a *DuplicateError for a duplicate
// key; neither of the two records has been yielded then. If everything fits into memory, the error is for the duplicate that is first in
// the input, and no record has been yielded.
func (s *Sorter) Records(ctx context.Context) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		var err error
		if s.ranges == nil {
			err = s.memory(yield)
		} else {
			_, err = s.disk(ctx, s.ranges, new(sorted), yield)
		}
		if err != nil {
			yield(dataset.Record{}, err)
		}
	}
}

// Line returns the line of the record that Records yielded last.
func (s *Sorter) Line() int { return s.line }

// Close releases the records and removes their files. Files that cannot be removed are left to the owner of the folder.
func (s *Sorter) Close() {
	s.runs, s.sorted = nil, nil
	if s.ranges != nil {
		s.ranges.remove()
	}
}

func (s *Sorter) memory(yield func(dataset.Record, error) bool) error {
	if s.sorted == nil {
		all := new(sorted)
		var n int
		for _, r := range s.runs {
			n += len(r.items)
		}
		all.items, all.segments = make([]item, 0, n), make([][]byte, 0, len(s.runs))
		for _, r := range s.runs {
			for _, it := range r.items {
				it.segment = uint32(len(all.segments))
				all.items = append(all.items, it)
			}
			all.segments = append(all.segments, r.data)
		}
		if err := all.sort(); err != nil {
			return err
		}
		s.runs, s.sorted = nil, all
	}
	s.sorted.yield(&s.line, yield)
	return nil
}
