package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/dataset"
)

func TestTableIsAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// Few different bytes result in keys that are prefixes and neighbors of each other.
		key := rapid.OneOf(
			rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00")), 1, 20, -1),
			rapid.StringN(1, 100, dataset.MaxKeyBytes),
		)
		value := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 300),
			rapid.Map(rapid.IntRange(0, 20_000), func(n int) []byte { return bytes.Repeat([]byte{'v'}, n) }),
		)
		m := rapid.MapOfN(key, value, 0, 200).Draw(rt, "records")
		seed := rapid.Uint64().Draw(rt, "seed")
		// A wrong expected size results in many partitions of few records, or in one partition.
		hint := rapid.SampledFrom([]int64{0, 1, 4 << 20, 100 << 20}).Draw(rt, "expected size")
		workers := rapid.IntRange(0, 3).Draw(rt, "workers")
		tab, err := load(t, snapshotOf(t, seed, m, hint), Config{Version: 7, Workers: workers})
		if err != nil {
			rt.Fatal(err)
		}
		if tab.Version() != 7 {
			rt.Fatalf("version %d", tab.Version())
		}
		check(rt, tab, seed, m)
	})
}

func TestEmptyTable(t *testing.T) {
	tab := tableOf(t, nil)
	check(t, tab, testSeed, nil)
	if value, ok := tab.GetString("anything"); ok || value != nil {
		t.Fatalf("an empty table has %q", value)
	}
	checkMany(t, tab, [][]byte{[]byte("a"), nil, []byte("b")})
}

func TestKeysAndValuesOfEverySize(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	m := make(map[string][]byte)
	for n := 1; n <= dataset.MaxKeyBytes; n++ {
		m[string(random(n))] = random(n % 40)
	}
	// Lengths around each one at which the header's form changes, with short and with long keys.
	for _, n := range []int{0, 1, 126, 127, 128, 129, 1<<14 - 1, 1 << 14, 1<<14 + 1, 1 << 17, 1<<20 - 1, 1 << 20} {
		for _, k := range []int{1, 2, 7, 8, 9, 16, 17, 62, 63, 64, 65, 1024} {
			if n > 1<<15 && k%8 != 0 {
				continue // a few of these are enough
			}
			m[string(random(k))] = random(n)
		}
	}
	for _, hint := range []int64{0, 1} {
		tab, err := load(t, snapshotOf(t, testSeed, m, hint), Config{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, tab, testSeed, m)
	}
}

// TestTagsThatCollide looks up records in one slab of over 32 MiB, which leaves 6 bits or less for tags.
func TestTagsThatCollide(t *testing.T) {
	m := numberedRecords(20_000, 10)
	for i := range 34 {
		m[fmt.Sprintf("big-%d", i)] = bytes.Repeat([]byte{byte(i)}, dataset.MaxValueBytes)
	}
	tab, err := load(t, snapshotOf(t, testSeed, m, 1), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if p := tab.partitions[0]; p.shift < 26 {
		t.Fatalf("a tag has %d bits; the test needs few", 32-p.shift)
	}
	check(t, tab, testSeed, m)
}

// collision returns two keys with the same XXH3-64. For keys of 9 to 16 bytes that is a function of
// len + bswap(lo) + hi + fold(lo*hi), where lo and hi are the key's halves, each xored with a constant of the seed:
// with lo or hi 0 the product vanishes. See the XXH3 specification, "medium inputs of 9 to 16 bytes".
func collision(seed, x uint64) (a, b []byte) {
	loConst := uint64(0x1f67b3b7a4a44072^0x78e5c0cc4ee679cb) + seed
	hiConst := uint64(0x2172ffcc7dd05a82^0x8e2443f7744608b8) - seed
	var swapped [8]byte
	binary.LittleEndian.PutUint64(swapped[:], x)
	key := func(lo, hi uint64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, lo^loConst), hi^hiConst)
	}
	return key(0, x), key(binary.BigEndian.Uint64(swapped[:]), 0)
}

func TestHashesThatCollide(t *testing.T) {
	for _, seed := range []uint64{0, testSeed, 1<<64 - 1} {
		m := numberedRecords(1000, 10)
		for i := uint64(1); i < 1000; i++ { // for 0 the two keys would be equal
			a, b := collision(seed, i*0x9e3779b97f4a7c15)
			if dataset.Hash(seed, a) != dataset.Hash(seed, b) {
				t.Fatalf("hashes of %x and %x differ", a, b)
			}
			if m[string(a)] = fmt.Appendf(nil, "first %d", i); i%3 > 0 { // a third has no second key
				m[string(b)] = fmt.Appendf(nil, "second %d", i)
			}
		}
		tab, err := load(t, snapshotOf(t, seed, m, 0), Config{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, tab, seed, m)
		for i := uint64(1); i < 1000; i++ {
			_, b := collision(seed, i*0x9e3779b97f4a7c15)
			if _, ok := tab.Get(b); ok != (i%3 > 0) {
				t.Fatalf("Get(%x) finds %v", b, ok)
			}
		}
	}
}

// TestIndexThatOverflows crowds the last home of a partition, so that the spare slots do not suffice.
func TestIndexThatOverflows(t *testing.T) {
	m := make(map[string][]byte)
	var key [8]byte
	for i := uint64(0); len(m) < 60; i++ {
		binary.LittleEndian.PutUint64(key[:], i)
		if dataset.Hash(testSeed, key[:]) >= 0xff<<56 {
			m[string(key[:])] = key[:3]
		}
	}
	tab := tableOf(t, m)
	p := tab.partitions[0]
	if p.spare <= spareSlots {
		t.Fatalf("%d slots after %d homes; the test needs more", p.spare, p.homes)
	}
	check(t, tab, testSeed, m)
}

func TestLookupsDoNotAllocate(t *testing.T) {
	m := numberedRecords(1000, 10)
	tab := tableOf(t, m)
	keys, values := make([][]byte, 0, 100), make([][]byte, 100)
	for i := range 100 {
		keys = append(keys, fmt.Appendf(nil, "key-%d", 15*i))
	}
	for name, lookup := range map[string]func(){
		"Get":       func() { tab.Get(keys[1]); tab.Get(keys[99]) },
		"GetString": func() { tab.GetString("key-1"); tab.GetString("none") },
		"GetMany":   func() { tab.GetMany(keys, values) },
	} {
		if n := testing.AllocsPerRun(100, lookup); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestGetManyWantsRoomForValues(t *testing.T) {
	tab := tableOf(t, numberedRecords(10, 10))
	defer func() {
		if recover() == nil {
			t.Error("GetMany with too few values did not panic")
		}
	}()
	tab.GetMany(make([][]byte, 3), make([][]byte, 2))
}

func TestAllStops(t *testing.T) {
	tab := tableOf(t, numberedRecords(10, 10))
	n := 0
	for range tab.All() {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Fatalf("%d records after a break at 3", n)
	}
}

// TestEqual compares keys that differ in single bits, and random keys of few different bytes: a lookup must not mistake a
// record with the same tag for the right one.
func TestEqual(t *testing.T) {
	for n := range 70 {
		a := bytes.Repeat([]byte{0x35}, n)
		if !equal(a, bytes.Clone(a)) {
			t.Errorf("%x is not equal to itself", a)
		}
		for bit := range 8 * n {
			b := bytes.Clone(a)
			b[bit/8] ^= 1 << (bit % 8)
			if equal(a, b) || equal(b, a) {
				t.Fatalf("%x and %x are equal", a, b)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	a, b := make([]byte, 20), make([]byte, 20)
	for range 200_000 {
		n, few := rng.IntN(len(a)), []byte{0x00, 0x01, 0x0f, 0xff}
		for i := range n {
			a[i] = few[rng.IntN(len(few))]
			if b[i] = a[i]; rng.IntN(n) == 0 {
				b[i] = few[rng.IntN(len(few))]
			}
		}
		if equal(a[:n], b[:n]) != bytes.Equal(a[:n], b[:n]) {
			t.Fatalf("equal(%x, %x) is %v", a[:n], b[:n], equal(a[:n], b[:n]))
		}
	}
}
