package spill

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"freshet.dev/pkg/dataset"
)

const (
	// splitBits is how many bits of the hash select a range of a split: 64 files, so that with the default 64 MiB an input of 4 GB is
	// written once.
	splitBits = 6
	// maxDepth is how often a range is split at most, which uses 60 of the 64 bits. Only equal hashes reach it.
	maxDepth = 10
	// writeBytes is the buffer of each file while ranges are written: 4 MiB in all.
	writeBytes = 64 << 10
	// maxSpilledBytes is the length of the longest spilled record.
	maxSpilledBytes = binary.MaxVarintLen64 + dataset.MaxEncodedBytes
)

// ranges is a set of files, each with the spilled records of one range of hashes.
type ranges struct {
	name  string // prefix of the names of the files
	depth int    // how many splits came before
	files [1 << splitBits]rangeFile
}

// rangeFile is the file of one range, or the ranges that it was split into.
type rangeFile struct {
	path  string   // empty if the range has no record
	f     *os.File // open for writing; nil after finish
	buf   []byte
	bytes int64 // written, buf included
	count int64
	split *ranges
}

func newRanges(name string, depth int) *ranges { return &ranges{name: name, depth: depth} }

// of returns the index of the range that hash is in.
func (r *ranges) of(hash uint64) int {
	return int(hash << (r.depth * splitBits) >> (64 - splitBits))
}

// add writes a spilled record into its range.
func (r *ranges) add(hash uint64, spilled []byte) error {
	f := &r.files[r.of(hash)]
	if f.f == nil {
		path := fmt.Sprintf("%s-%02x", r.name, r.of(hash))
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("spill records: %w", err)
		}
		f.path, f.f, f.buf = path, file, make([]byte, 0, writeBytes)
	}
	if len(f.buf)+len(spilled) > writeBytes {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.buf = append(f.buf, spilled...) // grows for a record larger than the buffer, and is then written
	f.bytes += int64(len(spilled))
	f.count++
	if len(f.buf) > writeBytes {
		return f.flush()
	}
	return nil
}

func (f *rangeFile) flush() error {
	_, err := f.f.Write(f.buf)
	f.buf = f.buf[:0]
	if err != nil {
		return fmt.Errorf("spill records: %w; a folder with more room can be named as TempDir", err)
	}
	return nil
}

// finish ends the writing of all ranges. Files are then opened one at a time, because split ranges are many.
func (r *ranges) finish() error {
	for i := range r.files {
		f := &r.files[i]
		if f.f == nil {
			continue
		}
		if err := f.flush(); err != nil {
			return err
		}
		err := f.f.Close()
		f.f, f.buf = nil, nil
		if err != nil {
			return fmt.Errorf("spill records: %w", err)
		}
	}
	return nil
}

// remove closes and removes the files.
func (r *ranges) remove() {
	for i := range r.files {
		f := &r.files[i]
		if f.f != nil {
			_ = f.f.Close() // the content is not needed
		}
		if f.split != nil {
			f.split.remove()
		}
		if f.path != "" {
			_ = os.Remove(f.path) // removed with its folder at the latest
		}
		*f = rangeFile{}
	}
}

// disk yields the records of every range in turn, each loaded into b.
func (s *Sorter) disk(ctx context.Context, r *ranges, b *sorted, yield func(dataset.Record, error) bool) (more bool, err error) {
	if err := r.finish(); err != nil {
		return false, err
	}
	for i := range r.files {
		f := &r.files[i]
		if f.count == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return false, context.Cause(ctx)
		}
		if f.bytes+f.count*itemBytes > s.cfg.MemoryBytes {
			if f.split == nil {
				err = s.split(ctx, r, i)
			}
			if err == nil {
				more, err = s.disk(ctx, f.split, b, yield)
			}
		} else if err = s.load(f, b); err == nil {
			if err = b.sort(); err == nil {
				more = b.yield(&s.line, yield)
			}
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// load reads a range into b.
func (s *Sorter) load(f *rangeFile, b *sorted) error {
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("read spilled records: %w", err)
	}
	defer file.Close()
	if len(b.segments) == 0 {
		b.segments = make([][]byte, 1)
	}
	data := b.segments[0]
	if int64(cap(data)) < f.bytes {
		data = make([]byte, f.bytes+f.bytes/8) // ranges differ a little: avoids an allocation for the next one
	}
	if int64(cap(b.items)) < f.count {
		b.items = make([]item, 0, f.count+f.count/8)
	}
	data = data[:f.bytes]
	b.segments[0], b.items = data, b.items[:0]
	if _, err := io.ReadFull(file, data); err != nil {
		return fmt.Errorf("read spilled records from %s: %w", f.path, err)
	}
	for at := 0; at < len(data); {
		_, rec, n, err := decode(data[at:])
		if err != nil {
			return fmt.Errorf("read spilled records from %s at byte %d: %w", f.path, at, err)
		}
		b.items = append(b.items, item{hash: dataset.Hash(s.cfg.Seed, rec.Key), at: uint32(at)})
		at += n
	}
	return nil
}

// split writes the records of range i into a new set of ranges.
func (s *Sorter) split(ctx context.Context, r *ranges, i int) (err error) {
	f := &r.files[i]
	if r.depth+1 >= maxDepth {
		return fmt.Errorf("more than %d bytes of records have keys with the same hash", s.cfg.MemoryBytes)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("read spilled records: %w", err)
	}
	defer file.Close()
	sub := newRanges(fmt.Sprintf("%s-%02x", r.name, i), r.depth+1)
	defer func() {
		if err != nil {
			sub.remove()
		}
	}()
	in := bufio.NewReaderSize(file, maxSpilledBytes)
	var first []byte
	var firstLine int
	for n := int64(0); n < f.count; n++ {
		if n%(1<<16) == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// The buffer has a whole record most of the time. Peeking the longest record each time would move the buffer's content to its
		// front each time.
		head, _ := in.Peek(in.Buffered())
		line, rec, size, err := decode(head)
		if err != nil {
			if head, err = in.Peek(maxSpilledBytes); err != nil && err != io.EOF {
				return fmt.Errorf("read spilled records: %w", err)
			}
			if line, rec, size, err = decode(head); err != nil {
				return fmt.Errorf("read spilled records from %s: record %d: %w", f.path, n+1, err)
			}
		}
		switch {
		case n == 0:
			first, firstLine = bytes.Clone(rec.Key), line
		case bytes.Equal(first, rec.Key):
			// Without this, an input of one repeated key would be split until no bits are left.
			return &DuplicateError{Key: first, First: min(firstLine, line), Second: max(firstLine, line)}
		}
		if err := sub.add(dataset.Hash(s.cfg.Seed, rec.Key), head[:size]); err != nil {
			return err
		}
		if _, err := in.Discard(size); err != nil {
			return fmt.Errorf("read spilled records: %w", err)
		}
	}
	if err := sub.finish(); err != nil {
		return err
	}
	// Free the disk before the next range is split.
	if err := os.Remove(f.path); err != nil {
		return fmt.Errorf("remove spilled records: %w", err)
	}
	f.path, f.split = "", sub
	return nil
}
