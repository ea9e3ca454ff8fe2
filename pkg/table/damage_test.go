package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/snapshot"
)

// refused loads a damaged file as an instance would, and fails t if that succeeds or changes the served table.
func refused(t *testing.T, h *atomic.Pointer[Table], served *Table, file []byte, what string, at any) {
	t.Helper()
	tab, err := load(t, file, Config{Version: served.Version() + 1})
	if err == nil {
		h.Swap(tab)
	} else if !errors.Is(err, snapshot.ErrCorrupt) && !errors.Is(err, snapshot.ErrFormat) {
		t.Fatalf("%s %v: error %v, want one of damage", what, at, err)
	}
	if h.Load() != served {
		t.Fatalf("%s %v: the file was accepted", what, at)
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	m := numberedRecords(40, 30)
	file := snapshotOf(t, testSeed, m, 2<<20) // several blocks
	var h atomic.Pointer[Table]
	served := tableOf(t, m)
	h.Swap(served)
	for bit := range 8 * len(file) {
		file[bit/8] ^= 1 << (bit % 8)
		refused(t, &h, served, file, "flipped bit", bit)
		file[bit/8] ^= 1 << (bit % 8)
	}
	if _, err := load(t, file, Config{}); err != nil {
		t.Fatalf("the undamaged file: %v", err)
	}
	check(t, served, testSeed, m)
}

func TestRandomFlippedBitsOfALargeFileAreRefused(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 10_000))
	m := numberedRecords(600, 1000)
	file := snapshotOf(t, testSeed, m, 0)
	var h atomic.Pointer[Table]
	served := tableOf(t, m)
	h.Swap(served)
	flips := 10_000
	if testing.Short() {
		flips = 1000
	}
	for range flips {
		bit := rng.IntN(8 * len(file))
		file[bit/8] ^= 1 << (bit % 8)
		refused(t, &h, served, file, "flipped bit", bit)
		file[bit/8] ^= 1 << (bit % 8)
	}
	check(t, served, testSeed, m)
}

func TestEveryTruncationIsRefused(t *testing.T) {
	m := numberedRecords(40, 30)
	file := snapshotOf(t, testSeed, m, 2<<20)
	var h atomic.Pointer[Table]
	served := tableOf(t, m)
	h.Swap(served)
	for n := range len(file) {
		refused(t, &h, served, file[:n], "cut to", n)
	}
	refused(t, &h, served, append(bytes.Clone(file), 0), "one byte", "more")
}

// forgeHeader changes a header and corrects its checksum; see package snapshot for the layout.
func forgeHeader(file []byte, change func(header []byte)) []byte {
	file = bytes.Clone(file)
	change(file)
	binary.LittleEndian.PutUint64(file[24:], xxh3.Hash(file[:24]))
	return file
}

// forgeFooter changes a footer and corrects its checksum.
func forgeFooter(file []byte, change func(totals []byte)) []byte {
	file = bytes.Clone(file)
	trailer := file[len(file)-24:]
	footer := file[len(file)-24-int(binary.LittleEndian.Uint64(trailer)):][:binary.LittleEndian.Uint64(trailer)]
	change(footer[len(footer)-80:])
	binary.LittleEndian.PutUint64(trailer[8:], xxh3.Hash(footer))
	return file
}

// TestForgeriesAreRefused changes fields that only the records contradict, and corrects all checksums.
func TestForgeriesAreRefused(t *testing.T) {
	m := numberedRecords(4000, 100)
	file := snapshotOf(t, testSeed, m, 0)
	empty := snapshotOf(t, testSeed, nil, 0)
	var h atomic.Pointer[Table]
	served := tableOf(t, m)
	h.Swap(served)
	for name, forged := range map[string][]byte{
		"another seed":             forgeHeader(file, func(b []byte) { b[16] ^= 1 }),
		"another number of bits":   forgeHeader(file, func(b []byte) { b[10]++ }),
		"most bits, but no record": forgeHeader(empty, func(b []byte) { b[10] = snapshot.MaxBits }),
		"another state":            forgeFooter(file, func(b []byte) { b[48] ^= 1 }),
		"more payload":             forgeFooter(file, func(b []byte) { b[24]++ }),
	} {
		if bytes.Equal(forged, file) {
			t.Fatalf("%s: the forgery changes nothing", name)
		}
		refused(t, &h, served, forged, "forged", name)
	}
	for name, same := range map[string][]byte{
		"header": forgeHeader(file, func([]byte) {}), "footer": forgeFooter(file, func([]byte) {}),
	} {
		if !bytes.Equal(same, file) {
			t.Errorf("a forgery without changes changes the %s", name)
		}
	}
}
