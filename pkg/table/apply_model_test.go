package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"freshet.dev/pkg/dataset"
)

// line is a series of versions: the newest table and the records that it should hold.
type line struct {
	t   *testing.T
	tab *Table
	m   map[string][]byte
}

func newLine(t *testing.T, m map[string][]byte) *line {
	return &line{t: t, tab: tableOf(t, m), m: m}
}

// step applies changes; a nil value removes a record.
func (l *line) step(changes map[string][]byte) {
	l.t.Helper()
	base := l.tab.State()
	file := writeDelta(l.t, testSeed, changes, base, stateAfter(testSeed, base, l.m, changes), 0)
	tab, _, err := apply(l.t.Context(), l.tab, file, Config{Version: l.tab.Version() + 1})
	if err != nil {
		l.t.Fatal(err)
	}
	l.tab, l.m = tab, changedBy(l.m, changes)
}

func (l *line) check() {
	l.t.Helper()
	check(l.t, l.tab, testSeed, l.m)
	checkPartitions(l.t, l.tab)
}

// large returns the bytes of the table's largest partition, and the number of distinct partitions.
func (l *line) large() (bytes, partitions int) {
	for i := 0; i < len(l.tab.partitions); partitions++ {
		bytes = max(bytes, l.tab.partitions[i].live())
		_, i = l.tab.extent(i)
	}
	return bytes, partitions
}

// TestGrowthFromEmpty fills an empty table with small and large deltas, and empties it again.
func TestGrowthFromEmpty(t *testing.T) {
	for _, step := range []int{7, 900, 30_000} {
		l := newLine(t, map[string][]byte{})
		empty := l.tab.Bytes()
		for n := 0; n < 2*step || n < 3000; n += step {
			changes := make(map[string][]byte, step)
			for i := n; i < n+step; i++ {
				changes[fmt.Sprintf("key-%d", i)] = bytes.Repeat([]byte{byte(i)}, 100)
			}
			l.step(changes)
		}
		l.check()
		if over := float64(l.tab.Bytes()-l.tab.PayloadBytes()) / float64(l.tab.Len()); over > 60 {
			t.Errorf("in steps of %d: %.1f bytes a record in addition to the payload", step, over)
		}
		gone := make(map[string][]byte)
		for key := range l.m {
			gone[key] = nil
		}
		l.step(gone)
		l.check()
		if l.tab.Len() != 0 || l.tab.Bytes() > 2*empty+int64(8*len(l.tab.partitions)) {
			t.Errorf("in steps of %d: the empty table has %d bytes, at first it had %d", step, l.tab.Bytes(), empty)
		}
		l.step(numberedRecords(10, 10))
		l.check()
	}
}

// TestLargePartitionsAreSplit grows a table to many times its size.
func TestLargePartitionsAreSplit(t *testing.T) {
	l := newLine(t, numberedRecords(6000, 100)) // two partitions or more
	value := bytes.Repeat([]byte{'v'}, 500)
	for n := 0; n < 16_000; n += 200 { // few enough that Apply does not rebuild partitions
		changes := make(map[string][]byte)
		for i := n; i < n+200; i++ {
			changes[fmt.Sprintf("new-%d", i)] = value
		}
		l.step(changes)
		if largest, _ := l.large(); largest > 4*targetBytes {
			t.Fatalf("at %d records a partition has %d bytes", l.tab.Len(), largest)
		}
	}
	l.check()
	_, n := l.large()
	fresh := tableOf(t, l.m)
	if n < len(fresh.partitions)/2 || n > len(fresh.partitions)*2 {
		t.Errorf("%d partitions, a fresh table has %d", n, len(fresh.partitions))
	}
	if l.tab.Bytes() > fresh.Bytes()*5/4 {
		t.Errorf("%d bytes, a fresh table has %d", l.tab.Bytes(), fresh.Bytes())
	}
	checkChanges(t, "diff", testSeed, Diff(fresh, l.tab), l.m, l.m)
}

// TestPartitionsOfLongerValuesAreSplit replaces values by longer ones, for a constant number of records.
func TestPartitionsOfLongerValuesAreSplit(t *testing.T) {
	l := newLine(t, numberedRecords(3000, 20))
	value := bytes.Repeat([]byte{'v'}, 1500)
	for n := 0; n < 3000; n += 60 {
		changes := make(map[string][]byte)
		for i := n; i < n+60; i++ {
			changes[fmt.Sprintf("key-%d", i)] = value
		}
		l.step(changes)
		if largest, _ := l.large(); largest > 3*targetBytes {
			t.Fatalf("at record %d a partition has %d bytes", n, largest)
		}
	}
	l.check()
}

// TestFewLargeRecordsAreNotSplit checks that values larger than a partition should be do not double the directory again
// and again.
func TestFewLargeRecordsAreNotSplit(t *testing.T) {
	l := newLine(t, numberedRecords(100, 10))
	for n := range 6 {
		changes := make(map[string][]byte)
		for i := range 4 {
			changes[fmt.Sprintf("big-%d-%d", n, i)] = bytes.Repeat([]byte{byte(i)}, dataset.MaxValueBytes)
		}
		l.step(changes)
	}
	l.check()
	if len(l.tab.partitions) > 64 {
		t.Errorf("%d directory entries for %d records", len(l.tab.partitions), l.tab.Len())
	}
}

// TestFewLargeRecordsAmongSmallOnes has partitions that remain large after any number of splits.
func TestFewLargeRecordsAmongSmallOnes(t *testing.T) {
	l := newLine(t, numberedRecords(4000, 100))
	for n := range 8 {
		changes := map[string][]byte{fmt.Sprintf("key-%d", n): []byte("changed")}
		for i := range 4 {
			changes[fmt.Sprintf("big-%d", i)] = bytes.Repeat([]byte{byte(n)}, dataset.MaxValueBytes-n)
		}
		l.step(changes)
	}
	l.check()
	if most := l.tab.PayloadBytes() / leastBytes * 4; int64(len(l.tab.partitions)) > most {
		t.Errorf("%d directory entries for %d bytes, want %d at most", len(l.tab.partitions), l.tab.PayloadBytes(), most)
	}
}

// TestWornTableStaysGood changes, adds and removes records over many deltas of 1 and of 3 %.
func TestWornTableStaysGood(t *testing.T) {
	const records = 10_000
	for _, changed := range []int{records / 100, records * 3 / 100} {
		l := newLine(t, numberedRecords(records, 100))
		rng := rand.New(rand.NewPCG(1, uint64(changed)))
		for n := range 60 {
			changes := make(map[string][]byte)
			for len(changes) < changed {
				key := fmt.Sprintf("key-%d", rng.IntN(2*records)) // half of them exist
				if changes[key] = bytes.Repeat([]byte{byte(n)}, 50+rng.IntN(100)); rng.IntN(2) == 0 && l.m[key] != nil {
					changes[key] = nil
				}
			}
			l.step(changes)
			if l.tab.Bytes() > l.tab.PayloadBytes()*11/10+int64(20*len(l.m)) {
				t.Fatalf("after %d deltas of %d changes: %d bytes for %d of payload", n+1, changed, l.tab.Bytes(), l.tab.PayloadBytes())
			}
		}
		l.check()
	}
}

// TestChangesThatChangeNothing removes records that do not exist, and upserts unchanged records.
func TestChangesThatChangeNothing(t *testing.T) {
	m := numberedRecords(5000, 20)
	for _, many := range []bool{false, true} { // entries for the patch, and for a merge
		changes := map[string][]byte{"none-1": nil, "none-2": nil, "key-1": m["key-1"], "key-2": []byte("new"), "key-3": nil}
		if many {
			for i := range 4000 {
				key := fmt.Sprintf("key-%d", i+500)
				changes[key] = m[key]
				changes["no"+key] = nil
			}
		}
		l := newLine(t, m)
		base := l.tab
		tab, made, err := apply(t.Context(), base, deltaOf(t, testSeed, m, changes), Config{})
		if err != nil {
			t.Fatal(err)
		}
		next := changedBy(m, changes)
		check(t, tab, testSeed, next)
		checkPartitions(t, tab)
		checkChanges(t, "changes", testSeed, made.All(), m, next)
		checkChanges(t, "brief changes", testSeed, made.Brief(), m, next)
	}
	l := newLine(t, m)
	base := l.tab
	l.step(nil)
	l.check()
	l.step(map[string][]byte{"key-1": m["key-1"]})
	l.check()
	for i := range base.partitions {
		if l.tab.partitions[i] != base.partitions[i] {
			t.Errorf("partition %d was rebuilt without a change", i)
		}
	}
}

// TestDeltasOfCollidingHashes adds and removes records with equal hashes, one by one.
func TestDeltasOfCollidingHashes(t *testing.T) {
	l := newLine(t, numberedRecords(2000, 10))
	var pairs [][2]string
	for i := uint64(1); i < 40; i++ {
		a, b := collision(testSeed, i*0x9e3779b97f4a7c15)
		pairs = append(pairs, [2]string{string(a), string(b)})
	}
	for _, first := range []int{0, 1} {
		for _, side := range []int{first, 1 - first} {
			changes := make(map[string][]byte)
			for i, p := range pairs {
				changes[p[side]] = fmt.Appendf(nil, "%d %d", i, side)
			}
			l.step(changes)
			l.check()
		}
		for _, side := range []int{first, 1 - first} {
			changes := make(map[string][]byte)
			for _, p := range pairs {
				changes[p[side]] = nil
			}
			l.step(changes)
			l.check()
		}
	}
}

// TestDeltasThatCrowdAPage adds records to the end of one page of an index until no slot is free.
func TestDeltasThatCrowdAPage(t *testing.T) {
	l := newLine(t, numberedRecords(3000, 10))
	var key [8]byte
	changes := make(map[string][]byte)
	for i := uint64(0); len(l.m) < 3400; i++ {
		binary.LittleEndian.PutUint64(key[:], i)
		if dataset.Hash(testSeed, key[:]) >= 0x3ff<<54 {
			if changes[string(key[:])] = bytes.Clone(key[:3]); len(changes) == 10 {
				l.step(changes)
				clear(changes)
			}
		}
	}
	l.check()
	for key := range l.m {
		if len(key) == 8 && len(changes) < 300 && key[0] != 'k' {
			changes[key] = nil
		}
	}
	l.step(changes)
	l.check()
}

// TestLongKeysAndValuesByDeltas replaces records of each size by records of another size.
func TestLongKeysAndValuesByDeltas(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	var keys []string
	for n := 1; n <= dataset.MaxKeyBytes; n++ {
		keys = append(keys, string(random(n)))
	}
	sizes := []int{0, 1, 126, 127, 128, 129, 1<<14 - 1, 1 << 14, 1<<14 + 1, 1 << 17, 1 << 20}
	l := newLine(t, numberedRecords(20_000, 10))
	for round := range 4 {
		changes := make(map[string][]byte)
		for i, key := range keys {
			if i%4 == round || round == 3 {
				n := sizes[(i+round)%len(sizes)]
				if i%50 > 0 {
					n = min(n, 200)
				}
				changes[key] = random(n)
			}
		}
		l.step(changes)
		l.check()
	}
}
