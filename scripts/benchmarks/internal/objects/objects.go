// Package objects writes the snapshots and deltas of package rows without a publisher, which would take minutes for many versions. A
// test of package delta checks that the deltas are byte for byte those of a publisher.
package objects

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// File is a snapshot or delta on disk.
type File struct {
	Path    string
	Object  dataset.Object
	State   dataset.Checksum // after the file is applied
	Payload uint64
	Changes int
}

// Maker writes the files of one dataset into a folder. It is not safe for concurrent use.
type Maker struct {
	dir string
	// Order has the rows in the order of a snapshot.
	Order []int32
	// Random picks the rows of a delta.
	Random *rand.Rand
	// Generations has the generation of each row; nil if all are 0.
	Generations []uint8
	state       dataset.Checksum
}

// NewMaker returns a maker of count rows in their generation 0.
func NewMaker(dir string, count int) *Maker {
	return &Maker{dir: dir, Order: rows.Order(count), Random: rand.New(rand.NewPCG(1, uint64(count)))}
}

// Snapshot writes the current rows.
func (m *Maker) Snapshot(version uint64) (File, error) {
	f, err := m.write(version, "snapshot", func(w io.Writer) (snapshot.Totals, error) {
		return rows.WriteGenerations(w, m.Order, m.Generation)
	})
	m.state = f.State
	return f, err
}

// Generation returns the generation of a row.
func (m *Maker) Generation(row int) int {
	if m.Generations == nil {
		return 0
	}
	return int(m.Generations[row])
}

// Pick returns n random positions in the order, sorted.
func (m *Maker) Pick(n int) []int {
	taken := make(map[int]bool, n)
	picked := make([]int, 0, n)
	for len(picked) < n {
		if i := m.Random.IntN(len(m.Order)); !taken[i] {
			taken[i] = true
			picked = append(picked, i)
		}
	}
	slices.Sort(picked)
	return picked
}

// deltaScale is the value of package publish, which makes the blocks of a delta small.
const deltaScale = 8

// Next is the generation after g.
func Next(g int) int { return g + 1 }

// Delta writes a delta that gives the rows at the picked positions the generation that next returns for theirs. If keep is true it also
// changes the maker's rows.
func (m *Maker) Delta(version uint64, picked []int, next func(generation int) int, keep bool) (File, error) {
	if keep && m.Generations == nil {
		m.Generations = make([]uint8, len(m.Order))
	}
	f, err := m.write(version, "delta", func(w io.Writer) (snapshot.Totals, error) {
		out, err := snapshot.NewWriter(w, snapshot.WriterConfig{
			Kind: snapshot.Delta, Seed: rows.Seed, RawBytes: deltaScale * int64(rows.EncodedBytes()) * int64(len(picked)), Base: m.state,
		})
		if err != nil {
			return snapshot.Totals{}, err
		}
		state := m.state
		var key, was, is, encoded []byte
		for _, at := range picked {
			row := int(m.Order[at])
			g := m.Generation(row)
			key, was, is = rows.AppendKey(key[:0], row), rows.AppendGeneration(was[:0], row, g), rows.AppendGeneration(is[:0], row, next(g))
			encoded = dataset.AppendRecord(encoded[:0], dataset.Record{Key: key, Value: was})
			state.Remove(rows.Seed, encoded)
			r := dataset.Record{Key: key, Value: is}
			encoded = dataset.AppendRecord(encoded[:0], r)
			state.Add(rows.Seed, encoded)
			if err := out.Add(r); err != nil {
				out.Abort()
				return snapshot.Totals{}, err
			}
			if keep {
				m.Generations[row] = uint8(next(g))
			}
		}
		return out.CloseDelta(state)
	})
	f.Changes = len(picked)
	if keep {
		m.state = f.State
	}
	return f, err
}

// write writes a file.
func (m *Maker) write(version uint64, kind string, write func(io.Writer) (snapshot.Totals, error)) (_ File, err error) {
	out, err := os.CreateTemp(m.dir, fmt.Sprintf("%d-%d-*.%s", len(m.Order), version, kind))
	if err != nil {
		return File{}, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	totals, err := write(out)
	if err != nil {
		return File{}, err
	}
	return File{
		Path: out.Name(), Object: dataset.Object{Version: version, Digest: totals.Digest, Bytes: totals.FileBytes},
		State: totals.State, Payload: totals.PayloadBytes,
	}, nil
}
