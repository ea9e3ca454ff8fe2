package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"freshet.dev/pkg/dataset"
)

// rest returns the keys of the records after key, in the order of [Table.All].
func rest(tab *Table, key []byte) (keys []string) {
	hash := dataset.Hash(tab.seed, key)
	for k := range tab.All() {
		if h := dataset.Hash(tab.seed, k); key == nil || h > hash || h == hash && bytes.Compare(k, key) > 0 {
			keys = append(keys, string(k))
		}
	}
	return keys
}

func checkAfter(t *testing.T, tab *Table, key []byte) {
	t.Helper()
	want := rest(tab, key)
	c := tab.After(key)
	for i := 0; ; i++ {
		k, v, ok := c.Next()
		if !ok {
			if i != len(want) {
				t.Fatalf("after %.40q: %d records, want %d", key, i, len(want))
			}
			break
		}
		if i >= len(want) || string(k) != want[i] {
			t.Fatalf("after %.40q: record %d is %.40q", key, i, k)
		}
		if got, _ := tab.Get(k); !bytes.Equal(got, v) {
			t.Fatalf("value of %.40q", k)
		}
	}
	if _, _, ok := c.Next(); ok {
		t.Fatalf("after %.40q: a record after the last", key)
	}
}

// TestAfter starts cursors at keys that a table has, and at others, in tables of many shapes.
func TestAfter(t *testing.T) {
	for _, n := range []int{0, 1, 5, 3000, 20_000} {
		l := newLine(t, numberedRecords(n, 60))
		for range 3 {
			checkAfter(t, l.tab, nil)
			for range 12 {
				checkAfter(t, l.tab, fmt.Appendf(nil, "key-%d", rand.IntN(2*n+2)))
			}
			if keys := rest(l.tab, nil); len(keys) > 0 {
				checkAfter(t, l.tab, []byte(keys[0]))
				checkAfter(t, l.tab, []byte(keys[len(keys)-1]))
			}
			changes := make(map[string][]byte)
			for i := range n/2 + 2 {
				changes[fmt.Sprintf("key-%d", rand.IntN(3*n+2))] = bytes.Repeat([]byte{'x'}, i%300)
			}
			l.step(changes)
		}
	}
}

// A position of one version is one in the next: no record comes twice, and none that both versions have is left out.
func TestAfterInAnotherVersion(t *testing.T) {
	l := newLine(t, numberedRecords(5000, 30))
	seen := make(map[string]int)
	var last []byte
	for {
		c := l.tab.After(last)
		read := 0
		for ; read < 300; read++ {
			key, _, ok := c.Next()
			if !ok {
				break
			}
			seen[string(key)]++
			last = bytes.Clone(key)
		}
		if read < 300 {
			break
		}
		l.step(map[string][]byte{string(last): nil, fmt.Sprintf("new-%d", len(seen)): []byte("x")})
	}
	for i := range 5000 {
		if n := seen[fmt.Sprintf("key-%d", i)]; n > 1 || n == 0 && l.m[fmt.Sprintf("key-%d", i)] != nil {
			t.Errorf("key-%d came %d times", i, n)
		}
	}
}
