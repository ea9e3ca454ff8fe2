package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

// TestGroups fills a group to its limit and above, and starts the next group.
func TestGroups(t *testing.T) {
	rs := rows(10_000)
	group := func(i int) uint32 { return Group(dataset.Hash(testSeed, rs[i].Key)) }
	same := 0
	for group(same) != group(same+1) { // some 50 pairs of neighbors share a group
		same++
	}
	keys := [][]byte{rs[same].Key, rs[same+1].Key, rs[len(rs)-1].Key}
	longest := bytes.Repeat([]byte("v"), dataset.MaxValueBytes)
	for _, over := range []int{0, 1} {
		g := NewGroups(testSeed)
		left := dataset.MaxGroupBytes + over
		for left > 2*dataset.MaxEncodedBytes {
			r := dataset.Record{Key: keys[0], Value: longest}
			if err := g.Add(r); err != nil {
				t.Fatalf("%d bytes before the limit: %v", left, err)
			}
			left -= r.EncodedBytes()
		}
		half := dataset.Record{Key: keys[0], Value: longest[:left/2]}
		if err := g.Add(half); err != nil {
			t.Fatal(err)
		}
		left -= half.EncodedBytes()
		last := dataset.Record{Key: keys[1], Value: longest[:left-len(keys[1])-dataset.MaxHeadBytes]}
		for last.EncodedBytes() < left {
			last.Value = longest[:len(last.Value)+1]
		}
		err := g.Add(last)
		if over == 0 && err != nil || over > 0 && (!errors.Is(err, ErrGroupSize) || !strings.Contains(err.Error(), fmt.Sprintf("%q", keys[1]))) {
			t.Errorf("%d over the limit: %v", over, err)
		}
		if err := g.Add(dataset.Record{Key: keys[2]}); err != nil {
			t.Errorf("the next group: %v", err)
		}
	}
}

// TestCut checks that Cut tries more and more partitions, up to one for each group.
func TestCut(t *testing.T) {
	other := errors.New("another error")
	for name, c := range map[string]struct {
		raw  int64
		fits uint8 // the fewest bits that fit
		want []uint8
	}{
		"at once":         {1 << 20, 0, []uint8{2}},
		"an empty guess":  {0, 4, []uint8{0, 4}},
		"in steps":        {1 << 20, 12, []uint8{2, 6, 10, 14}},
		"to the groups":   {100 << 20, 20, []uint8{9, 13, 17, 20}},
		"never":           {100 << 20, 21, []uint8{9, 13, 17, 20}},
		"a large dataset": {1 << 40, 30, []uint8{22}},
		"another error":   {1 << 20, 100, []uint8{2}},
	} {
		var tried []uint8
		err := Cut(c.raw, func(raw int64) error {
			bits := bitsFor(raw)
			tried = append(tried, bits)
			switch {
			case c.fits == 100:
				return other
			case bits < c.fits:
				return fmt.Errorf("write: %w", ErrBlockSize)
			}
			return nil
		})
		fits := tried[len(tried)-1] >= c.fits
		if !slices.Equal(tried, c.want) || (err == nil) != fits || err != nil && !errors.Is(err, ErrBlockSize) && !errors.Is(err, other) {
			t.Errorf("%s: tried %d bits, want %d; %v", name, tried, c.want, err)
		}
	}
}

// TestIndexGroup finds the blocks of a group in files with fewer and with more partitions than there are groups.
func TestIndexGroup(t *testing.T) {
	rs := rows(2000)
	for _, bits := range []uint8{0, 1, 10, 20, 21, 24} {
		file := snapshotOf(t, rs, maxTarget<<bits)
		x, err := ReadIndex(bytes.NewReader(file), int64(len(file)))
		if err != nil || x.Header.Bits != bits {
			t.Fatalf("%d bits, %v; want %d", x.Header.Bits, err, bits)
		}
		for i, r := range rs {
			hash := dataset.Hash(testSeed, r.Key)
			group := Group(hash)
			first, end, raw := x.Group(group)
			if block, _ := x.Block(hash); block < first || block >= end {
				t.Fatalf("%d bits: record %d is in block %d, its group in %d to %d", bits, i, block, first, end)
			}
			want := int64(0)
			for b := range x.Blocks() {
				_, p := x.row(b)
				low := uint64(p.partition) << (64 - bits)
				if high := low | (1<<(64-bits) - 1); Group(low) <= group && group <= Group(high) {
					want += int64(p.raw)
				}
				if i%100 > 0 {
					want = raw // comparing with all blocks takes long
					break
				}
			}
			if raw != want {
				t.Fatalf("%d bits: %d bytes of group %d, want %d", bits, raw, group, want)
			}
		}
		if first, end, raw := x.Group(Group(dataset.Hash(testSeed, []byte("absent")))); bits == 24 && (first != end || raw != 0) {
			t.Errorf("an absent group is in blocks %d to %d", first, end)
		}
	}
}
