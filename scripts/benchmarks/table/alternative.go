package table

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/colinmarc/cdb"
	"github.com/dolthub/swiss"

	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// alternative is a structure that holds the rows. Each has its own loop around its lookup, so that the measurement adds no call that
// users would not make.
type alternative interface {
	// get looks up all keys and returns how many exist.
	get(keys [][]byte) (found int)
	// read also reads all bytes of each value and returns their sum.
	read(keys [][]byte) (found int, sum uint64)
}

// names are the alternatives, freshet's table first and the Go map second.
var names = []string{"freshet", "map", "swiss", "cdb"}

// build builds the alternative with the name from the rows in files.
func build(ctx context.Context, name string, f files) (alternative, error) {
	switch name {
	case "freshet":
		t, err := loadTable(ctx, f.snapshot, table.Config{})
		return freshet{t}, err
	case "map":
		m := make(goMap, f.count)
		f.each(func(key string, value []byte) { m[key] = value })
		return m, nil
	case "swiss":
		m := swiss.NewMap[string, []byte](uint32(f.count))
		f.each(m.Put)
		return swissMap{m}, nil
	case "cdb":
		b, err := os.ReadFile(f.cdb)
		if err != nil {
			return nil, err
		}
		c, err := cdb.New(bytes.NewReader(b), nil)
		return cdbFile{c}, err
	}
	return nil, fmt.Errorf("no alternative is called %q", name)
}

// loadTable loads the snapshot at path.
func loadTable(ctx context.Context, path string, cfg table.Config) (*table.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := snapshot.NewReader(f)
	if err != nil {
		return nil, err
	}
	return table.Load(ctx, r, cfg)
}

// text returns key as a string without copying it, for alternatives with string keys.
func text(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

// sumOf reads every byte of value.
func sumOf(value []byte) (sum uint64) {
	for len(value) >= 8 {
		sum += binary.LittleEndian.Uint64(value)
		value = value[8:]
	}
	for _, b := range value {
		sum += uint64(b)
	}
	return sum
}

type freshet struct{ t *table.Table }

func (f freshet) get(keys [][]byte) (found int) {
	for _, key := range keys {
		if _, ok := f.t.Get(key); ok {
			found++
		}
	}
	return found
}

func (f freshet) read(keys [][]byte) (found int, sum uint64) {
	for _, key := range keys {
		if value, ok := f.t.Get(key); ok {
			found++
			sum += sumOf(value)
		}
	}
	return found, sum
}

// many is get in batches of 16.
type many struct{ freshet }

const manyKeys = 16

func (m many) get(keys [][]byte) (found int) {
	var values [manyKeys][]byte
	for ; len(keys) >= manyKeys; keys = keys[manyKeys:] {
		found += m.t.GetMany(keys[:manyKeys], values[:])
	}
	return found
}

func (m many) read(keys [][]byte) (found int, sum uint64) {
	var values [manyKeys][]byte
	for ; len(keys) >= manyKeys; keys = keys[manyKeys:] {
		found += m.t.GetMany(keys[:manyKeys], values[:])
		for _, value := range values {
			sum += sumOf(value)
		}
	}
	return found, sum
}

type goMap map[string][]byte

func (m goMap) get(keys [][]byte) (found int) {
	for _, key := range keys {
		if _, ok := m[string(key)]; ok {
			found++
		}
	}
	return found
}

func (m goMap) read(keys [][]byte) (found int, sum uint64) {
	for _, key := range keys {
		if value, ok := m[string(key)]; ok {
			found++
			sum += sumOf(value)
		}
	}
	return found, sum
}

type swissMap struct{ m *swiss.Map[string, []byte] }

func (s swissMap) get(keys [][]byte) (found int) {
	for _, key := range keys {
		if _, ok := s.m.Get(text(key)); ok {
			found++
		}
	}
	return found
}

func (s swissMap) read(keys [][]byte) (found int, sum uint64) {
	for _, key := range keys {
		if value, ok := s.m.Get(text(key)); ok {
			found++
			sum += sumOf(value)
		}
	}
	return found, sum
}

// cdbFile is a cdb in memory. Its reader makes no system calls, which is its best case.
type cdbFile struct{ c *cdb.CDB }

func (c cdbFile) get(keys [][]byte) (found int) {
	for _, key := range keys {
		if value, err := c.c.Get(key); err == nil && value != nil {
			found++
		}
	}
	return found
}

func (c cdbFile) read(keys [][]byte) (found int, sum uint64) {
	for _, key := range keys {
		if value, err := c.c.Get(key); err == nil && value != nil {
			found++
			sum += sumOf(value)
		}
	}
	return found, sum
}

// files are the rows in the formats from which alternatives are built.
type files struct {
	count         int
	snapshot, cdb string
}

// filesIn returns the names of the files that make writes.
func filesIn(dir string, count int) files {
	return files{
		count:    count,
		snapshot: filepath.Join(dir, fmt.Sprintf("%d.snapshot", count)),
		cdb:      filepath.Join(dir, fmt.Sprintf("%d.cdb", count)),
	}
}

// make writes the files.
func (f files) make() error {
	w, err := os.Create(f.snapshot)
	if err != nil {
		return err
	}
	if _, err := rows.WriteSnapshot(w, f.count); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	c, err := cdb.Create(f.cdb)
	if err != nil {
		return err
	}
	var key, value []byte
	for i := range f.count {
		key, value = rows.AppendKey(key[:0], i), rows.AppendValue(value[:0], i)
		if err := c.Put(key, value); err != nil {
			return err
		}
	}
	return c.Close()
}

// each calls put with a copy of every row.
func (f files) each(put func(key string, value []byte)) {
	var key []byte
	for i := range f.count {
		key = rows.AppendKey(key[:0], i)
		put(string(key), rows.AppendValue(make([]byte, 0, rows.ValueBytes), i))
	}
}
