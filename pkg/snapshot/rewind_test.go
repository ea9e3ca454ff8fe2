package snapshot

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
)

// swapped reads from one source, and from another one after a Rewind.
type swapped struct{ io.Reader }

// Invariant: with any bit flipped, the Reader rewinds to the beginning of the part with that bit, and then reads and
// verifies the whole file.
func TestRewindAtEveryBit(t *testing.T) {
	small(t, func(t *testing.T, file []byte, entries []dataset.Record) {
		_, totals, err := verify(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		expect := Expect(dataset.Object{Digest: totals.Digest, Bytes: totals.FileBytes})
		blocks, _ := blocksOf(t, file)
		for bit := range len(file) * 8 {
			damaged := bytes.Clone(file)
			damaged[bit/8] ^= 1 << (bit % 8)
			src := &swapped{bytes.NewReader(damaged)}
			times := 0
			_, again, err := verify(src, expect, Rewind(func(off int64, damage error) error {
				times++
				if !errors.Is(damage, ErrCorrupt) && !errors.Is(damage, ErrFormat) {
					t.Errorf("bit %d: the damage is %v", bit, damage)
				}
				if off > int64(bit/8) {
					t.Errorf("bit %d: the Reader rewinds to byte %d, after the damage", bit, off)
				}
				if n := blocksBefore(blocks, int64(bit/8)); off != 0 && n < len(blocks) && off != blocks[n].Offset {
					t.Errorf("bit %d: the Reader rewinds to byte %d, the block begins at %d", bit, off, blocks[n].Offset)
				}
				src.Reader = bytes.NewReader(file[off:])
				return nil
			}))
			if err != nil || times != 1 || again != totals {
				t.Fatalf("bit %d: %v after %d rewinds", bit, err, times)
			}
		}
	})
}

// Invariant: if rewind fails, the Reader's error wraps the damage and rewind's error.
func TestRewindThatFails(t *testing.T) {
	small(t, func(t *testing.T, file []byte, entries []dataset.Record) {
		for _, at := range []int{0, headerBytes - 1, len(file) - 1} {
			damaged := bytes.Clone(file)
			damaged[at] ^= 1
			why := errors.New("no other source")
			_, _, err := verify(bytes.NewReader(damaged), Rewind(func(int64, error) error { return why }))
			if !errors.Is(err, why) || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
				t.Errorf("byte %d: %v", at, err)
			}
		}
	})
}

// Invariant: a Reader does not rewind a file with valid parts but another digest, nor a file of a newer format.
func TestRewindIsForDamageOnly(t *testing.T) {
	never := Rewind(func(off int64, damage error) error {
		t.Errorf("the Reader rewinds to byte %d: %v", off, damage)
		return nil
	})
	small(t, func(t *testing.T, file []byte, entries []dataset.Record) {
		if _, _, err := verify(bytes.NewReader(file), never, Expect(dataset.Object{Digest: dataset.Digest{1}})); !errors.Is(err, ErrCorrupt) {
			t.Errorf("another digest: %v", err)
		}
		if _, _, err := verify(bytes.NewReader(append(bytes.Clone(file), 0)), never); !errors.Is(err, ErrCorrupt) {
			t.Errorf("bytes after the end: %v", err)
		}
	})
	h := Header{Kind: Snapshot}.append(nil)
	h[8]++
	le.PutUint64(h[24:], xxh3.Hash(h[:24]))
	if _, err := NewReader(bytes.NewReader(h), never); !errors.Is(err, ErrFormat) {
		t.Errorf("a newer format: %v", err)
	}
}
