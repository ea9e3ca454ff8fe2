package spill

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"freshet.dev/pkg/dataset"
)

const (
	// splitBits is how many bits of the hash tell the ranges of a split apart: 64 files, so that with the default 64 MiB
	// an input of 4 GB is written once.
	splitBits = 6
	// maxDepth is how often a range is split at most, which uses up 60 of the 64 bits. Only equal hashes get there.
	maxDepth = 10
	// writeBytes is the buffer of each file while ranges are written: 4 MiB in all.
	writeBytes = 64 << 10
	// maxSpilledBytes is the length of the longest spilled record.
	maxSpilledBytes = binary.MaxVarintLen64 + dataset.MaxEncodedBytes
)

// ranges is a set of files, each with the spilled records of one range of hashes.
type ranges struct {
	name  string // what the names of the files begin with
	depth int    // how many splits came before
	files [1 << splitBits]rangeFile
}

type rangeFile struct {
	f     *os.File
	buf   []byte
	bytes int64 // written, buf included
	count int64
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
		var err error
		f.f, err = os.OpenFile(fmt.Sprintf("%s-%02x", r.name, r.of(hash)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("spill records: %w", err)
		}
		f.buf = make([]byte, 0, writeBytes)
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

// rewind makes a range ready to be read.
func (f *rangeFile) rewind() error {
	if err := f.flush(); err != nil {
		return err
	}
	f.buf = nil
	if _, err := f.f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read spilled records: %w", err)
	}
	return nil
}

// remove closes and removes the file: the disk is free again before the next range is split.
func (f *rangeFile) remove() error {
	if f.f == nil {
		return nil
	}
	err := errors.Join(f.f.Close(), os.Remove(f.f.Name()))
	f.f, f.buf = nil, nil
	if err != nil {
		return fmt.Errorf("remove spilled records: %w", err)
	}
	return nil
}

func (r *ranges) close() {
	for i := range r.files {
		if f := &r.files[i]; f.f != nil {
			_ = f.f.Close() // what was written is not wanted any more
		}
	}
}

// buffers are reused from range to range.
type buffers struct {
	data  []byte
	items []item
}

// disk yields the records of every range in turn.
func (s *Sorter) disk(ctx context.Context, r *ranges, b *buffers, yield func(dataset.Record, error) bool) (more bool, err error) {
	defer r.close()
	for i := range r.files {
		f := &r.files[i]
		if f.f == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return false, context.Cause(ctx)
		}
		if err := f.rewind(); err != nil {
			return false, err
		}
		if f.bytes+f.count*itemBytes > s.cfg.MemoryBytes {
			more, err = s.split(ctx, r, i, b, yield)
		} else {
			if err = s.load(f, b); err == nil {
				if err = f.remove(); err == nil {
					more, err = emit([][]byte{b.data}, b.items, yield)
				}
			}
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// load reads a range into b.
func (s *Sorter) load(f *rangeFile, b *buffers) error {
	if int64(cap(b.data)) < f.bytes {
		b.data = make([]byte, f.bytes+f.bytes/8) // ranges differ a little: spares the next one
	}
	if int64(cap(b.items)) < f.count {
		b.items = make([]item, 0, f.count+f.count/8)
	}
	b.data, b.items = b.data[:f.bytes], b.items[:0]
	if _, err := io.ReadFull(f.f, b.data); err != nil {
		return fmt.Errorf("read spilled records: %w", err)
	}
	for at := 0; at < len(b.data); {
		_, rec, n, err := decode(b.data[at:])
		if err != nil {
			return fmt.Errorf("read spilled records from %s at byte %d: %w", f.f.Name(), at, err)
		}
		b.items = append(b.items, item{hash: dataset.Hash(s.cfg.Seed, rec.Key), at: uint32(at)})
		at += n
	}
	return nil
}

// split writes the records of range i into ranges of their own, and yields those.
func (s *Sorter) split(ctx context.Context, r *ranges, i int, b *buffers, yield func(dataset.Record, error) bool) (more bool, err error) {
	f := &r.files[i]
	if r.depth+1 >= maxDepth {
		return false, fmt.Errorf("more than %d bytes of records have keys with the same hash", s.cfg.MemoryBytes)
	}
	sub := newRanges(fmt.Sprintf("%s-%02x", r.name, i), r.depth+1)
	defer sub.close()
	in := bufio.NewReaderSize(f.f, maxSpilledBytes)
	var first []byte
	var firstLine int
	for n := int64(0); n < f.count; n++ {
		if n%(1<<16) == 0 && ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		// What is buffered is a whole record most of the time; asking for the longest each time would move the buffer's
		// content to its front each time.
		head, _ := in.Peek(in.Buffered())
		line, rec, size, err := decode(head)
		if err != nil {
			if head, err = in.Peek(maxSpilledBytes); err != nil && err != io.EOF {
				return false, fmt.Errorf("read spilled records: %w", err)
			}
			if line, rec, size, err = decode(head); err != nil {
				return false, fmt.Errorf("read spilled records from %s: record %d: %w", f.f.Name(), n+1, err)
			}
		}
		switch {
		case n == 0:
			first, firstLine = bytes.Clone(rec.Key), line
		case bytes.Equal(first, rec.Key):
			// Without this, an input that has one key over and over would be split until no bits are left.
			return false, &DuplicateError{Key: first, First: min(firstLine, line), Second: max(firstLine, line)}
		}
		if err := sub.add(dataset.Hash(s.cfg.Seed, rec.Key), head[:size]); err != nil {
			return false, err
		}
		if _, err := in.Discard(size); err != nil {
			return false, fmt.Errorf("read spilled records: %w", err)
		}
	}
	if err := f.remove(); err != nil {
		return false, err
	}
	return s.disk(ctx, sub, b, yield)
}
