package table

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// image is a copy of all memory that a table's lookups can read.
func image(tab *Table) [][]byte {
	var all [][]byte
	for _, p := range tab.partitions {
		all = append(all, bytes.Clone(p.slab), bytes.Clone(p.patchBytes()[min(patchHeader, p.patchLen):]))
		for i := range indexPages {
			var page []byte
			for _, slot := range p.page(i) {
				page = append(page, byte(slot), byte(slot>>8), byte(slot>>16), byte(slot>>24))
			}
			all = append(all, page)
		}
	}
	return all
}

func sameImage(a, b [][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// smallDelta returns a table with patches, its records, and a delta with changes of every kind.
func smallDelta(t *testing.T) (l *line, changes map[string][]byte, file []byte) {
	l = newLine(t, numberedRecords(400, 30))
	l.step(map[string][]byte{"key-9": []byte("patched"), "key-10": nil, "more": []byte("added")})
	changes = map[string][]byte{
		"key-1": []byte("changed"), "key-2": nil, "new": []byte("added"), "key-9": []byte("changed again"),
		"key-3": bytes.Repeat([]byte{'x'}, 200),
	}
	return l, changes, deltaOf(t, testSeed, l.m, changes)
}

func TestEveryFlippedBitOfADeltaIsRefused(t *testing.T) {
	l, changes, file := smallDelta(t)
	before := image(l.tab)
	try := func(what string, at int, file []byte) {
		tab, made, err := apply(t.Context(), l.tab, file, Config{})
		if err == nil || tab != nil || made != nil || !errors.Is(err, snapshot.ErrCorrupt) && !errors.Is(err, snapshot.ErrFormat) {
			t.Fatalf("%s %d: Apply = %v, %v, %v; want an error of damage", what, at, tab, made, err)
		}
		if !sameImage(before, image(l.tab)) {
			t.Fatalf("%s %d: the base was changed", what, at)
		}
	}
	for bit := range 8 * len(file) {
		file[bit/8] ^= 1 << (bit % 8)
		try("flipped bit", bit, file)
		file[bit/8] ^= 1 << (bit % 8)
	}
	for n := range len(file) {
		try("cut to", n, file[:n])
	}
	try("one byte more than", len(file), append(bytes.Clone(file), 0))
	l.check()
	l.step(changes)
	l.check()
}

// TestWrongStateIsDropped applies deltas with valid checksums that do not lead to their state. The spare capacity that
// they have used of the base's patches must not break the correct delta.
func TestWrongStateIsDropped(t *testing.T) {
	l, changes, _ := smallDelta(t)
	before := image(l.tab)
	base := stateOf(testSeed, l.m)
	for range 5 {
		for name, result := range map[string]dataset.Checksum{
			"another checksum": {Records: base.Records, Hi: 1, Lo: 2},
			"another number":   {Records: base.Records + 1, Hi: base.Hi, Lo: base.Lo},
		} {
			file := writeDelta(t, testSeed, changes, base, result, 0)
			tab, made, err := apply(t.Context(), l.tab, file, Config{Version: 12})
			if !errors.Is(err, ErrState) || tab != nil || made != nil {
				t.Fatalf("%s: Apply = %v, %v, %v; want ErrState", name, tab, made, err)
			}
			if !strings.Contains(err.Error(), "version 12") {
				t.Errorf("%q does not name the version", err)
			}
			if !sameImage(before, image(l.tab)) {
				t.Fatalf("%s: the base was changed", name)
			}
		}
	}
	l.check()
	l.step(changes)
	l.check()
}

// TestRandomDamageOfALargeDelta flips bits of a delta of several blocks.
func TestRandomDamageOfALargeDelta(t *testing.T) {
	m := numberedRecords(20_000, 60)
	l := newLine(t, m)
	changes := make(map[string][]byte)
	rng := rand.New(rand.NewPCG(4, 4))
	for key := range m {
		if rng.IntN(2) == 0 {
			changes[key] = []byte("changed " + key)
		}
	}
	file := writeDelta(t, testSeed, changes, stateOf(testSeed, m), stateOf(testSeed, changedBy(m, changes)), 4<<20)
	for range 300 {
		bit := rng.IntN(8 * len(file))
		file[bit/8] ^= 1 << (bit % 8)
		if tab, _, err := apply(t.Context(), l.tab, file, Config{}); err == nil {
			t.Fatalf("flipped bit %d: accepted: %v", bit, tab)
		}
		file[bit/8] ^= 1 << (bit % 8)
	}
	l.check()
	tab, _, err := apply(t.Context(), l.tab, file, Config{Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	check(t, tab, testSeed, changedBy(m, changes))
}

// TestForgedDeltasAreRefused changes fields that only the entries contradict, and corrects all checksums.
func TestForgedDeltasAreRefused(t *testing.T) {
	l, _, file := smallDelta(t)
	for name, forged := range map[string][]byte{
		"another number of bits": forgeHeader(file, func(b []byte) { b[10]++ }),
		"more payload":           forgeFooter(file, func(b []byte) { b[24]++ }),
		"one removal more":       forgeFooter(file, func(b []byte) { b[8]++ }),
	} {
		if tab, _, err := apply(t.Context(), l.tab, forged, Config{}); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Errorf("%s: Apply = %v, %v; want ErrCorrupt", name, tab, err)
		}
	}
	l.check()
}

func applyFrom(ctx context.Context, t *testing.T, base *Table, src io.Reader) error {
	t.Helper()
	r, err := snapshot.NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	tab, _, err := Apply(ctx, base, r, Config{Workers: 2})
	if (tab == nil) != (err != nil) {
		t.Fatalf("Apply = %v, %v", tab, err)
	}
	return err
}

func TestApplyReturnsItsInputsErrors(t *testing.T) {
	l, _, file := smallDelta(t)
	broken := errors.New("connection reset")
	half := len(file) / 2
	oneByOne := func(then func() (int, error)) io.Reader {
		src := after(file, half, then)
		return funcReader(func(b []byte) (int, error) { return src.Read(b[:min(len(b), 1)]) })
	}
	if err := applyFrom(t.Context(), t, l.tab, oneByOne(func() (int, error) { return 0, broken })); !errors.Is(err, broken) {
		t.Errorf("Apply = %v, want the reader's error", err)
	}
	if err := applyFrom(t.Context(), t, l.tab, oneByOne(func() (int, error) { panic("the input is possessed") })); err == nil ||
		!strings.Contains(err.Error(), "possessed") {
		t.Errorf("Apply = %v, want the panic", err)
	}
	why := errors.New("a newer version came")
	ctx, stop := context.WithCancelCause(t.Context())
	if err := applyFrom(ctx, t, l.tab, oneByOne(func() (int, error) { stop(why); return 0, nil })); !errors.Is(err, why) {
		t.Errorf("Apply = %v, want %v", err, why)
	}
	l.check()
}

// TestWorkersPanicIsAnError modifies a value, which callers must not do. Apply must return an error and not crash.
func TestWorkersPanicIsAnError(t *testing.T) {
	l, _, file := smallDelta(t)
	for _, p := range l.tab.partitions {
		for i := range p.slab {
			p.slab[i] = 0xff
		}
	}
	_, _, err := apply(t.Context(), l.tab, file, Config{Workers: 2})
	if err == nil {
		t.Fatal("Apply to a table whose memory was overwritten succeeded")
	}
	runtime.KeepAlive(l)
}
