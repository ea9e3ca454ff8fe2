package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"

	"freshet.dev/pkg/dataset"
	"freshet.dev/scripts/benchmarks/internal/objects"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// size is a number of changes in one delta.
type size struct {
	label   string
	changes func(records int) int
	// variants is the number of deltas of the size, all from the same version. With several variants a delta does not find its data in
	// the processor's caches.
	variants int
}

var sizes = []size{
	{"1 %", func(n int) int { return max(1, n/100) }, 3},
	{"0.1 %", func(n int) int { return max(1, n/1000) }, 10},
	{"100 changes", func(n int) int { return min(100, n) }, 50},
}

// depths are the numbers of deltas of 1 % after which lookups are measured.
var depths = []int{1, 10, 30}

// data describes the files for one number of records. Child processes read it from a file.
type data struct {
	Records int
	Base    file
	// Single are the deltas of each size, each from Base. Chain are successive deltas of 1 %, and Fresh is a snapshot after each of
	// the depths.
	Single [][]file
	Chain  []file
	Fresh  []file
	// Alone are, for the first delta of each size, the sizes of only its records compressed in one piece: as encoded in a file, and as
	// NDJSON.
	Alone, AloneNDJSON []int64
}

// file is a snapshot or delta on disk.
type file struct{ objects.File }

// maker writes the files.
type maker struct{ *objects.Maker }

func (m maker) snapshot(version uint64) (file, error) {
	f, err := m.Snapshot(version)
	return file{f}, err
}

// delta writes a delta that changes the rows at the picked positions again. If keep is true it also changes the maker's rows.
func (m maker) delta(version uint64, picked []int, keep bool) (file, error) {
	f, err := m.Delta(version, picked, objects.Next, keep)
	return file{f}, err
}

// makeData writes the files for count records in dir and returns the name of their description. It writes the files for lookups after
// deltas only if chain is true.
func makeData(dir string, count int, chain bool) (string, error) {
	m := maker{objects.NewMaker(dir, count)}
	d := data{Records: count}
	var err error
	if d.Base, err = m.snapshot(1); err != nil {
		return "", err
	}
	for _, s := range sizes {
		var files []file
		for range s.variants {
			picked := m.Pick(s.changes(count))
			f, err := m.delta(2, picked, false)
			if err != nil {
				return "", err
			}
			if files = append(files, f); len(files) == 1 {
				encoded, lines := m.alone(picked)
				d.Alone, d.AloneNDJSON = append(d.Alone, encoded), append(d.AloneNDJSON, lines)
			}
		}
		d.Single = append(d.Single, files)
	}
	if chain {
		for i := range slices.Max(depths) {
			f, err := m.delta(uint64(i+2), m.Pick(sizes[0].changes(count)), true)
			if err != nil {
				return "", err
			}
			d.Chain = append(d.Chain, f)
			if slices.Contains(depths, i+1) {
				fresh, err := m.snapshot(uint64(i + 2))
				if err != nil {
					return "", err
				}
				if fresh.State != f.State {
					return "", errors.New("the chain of deltas does not lead to its snapshot")
				}
				d.Fresh = append(d.Fresh, fresh)
			}
		}
	}
	b, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("%d.json", count))
	return path, os.WriteFile(path, b, 0o600)
}

func readData(path string) (d data, err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	return d, err
}

// alone returns the sizes of the changed records at the picked positions, in the order of the delta, compressed in one piece at the
// level of the files: encoded as in a file, and as NDJSON with each key once.
func (m maker) alone(picked []int) (encoded, lines int64) {
	var key, value, records, text []byte
	for _, at := range picked {
		row := int(m.Order[at])
		key, value = rows.AppendKey(key[:0], row), rows.AppendGeneration(value[:0], row, m.Generation(row)+1)
		records = dataset.AppendRecord(records, dataset.Record{Key: key, Value: value})
		text = append(append(text, value...), '\n')
	}
	return compressed(records), compressed(text)
}

// compressed returns the size of b as one zstd frame at the level of package snapshot.
func compressed(b []byte) int64 {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options above are wrong
	}
	defer e.Close()
	return int64(len(e.EncodeAll(b, nil)))
}
