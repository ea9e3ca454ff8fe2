package pull_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/pull"
)

// Invariant: each relay is the first choice for about its share of the objects, however the clients list them; when one
// goes, no object moves but its own.
func TestObjectsSpreadOverTheRelays(t *testing.T) {
	const objects = 10_000
	all := []string{"http://a:8481", "http://b:8481", "http://c:8481", "https://d/relay", "http://e:8481"}
	c := client(t, pull.Config{Relays: all})
	other := slices.Clone(all)
	slices.Reverse(other)
	other[0] = "http://user:password@E:8481/"
	same := client(t, pull.Config{Relays: other})
	fewer := client(t, pull.Config{Relays: all[1:]})

	share := map[string]int{}
	second := map[string]int{}
	for i := range objects {
		key := binary.BigEndian.AppendUint64(nil, uint64(i))
		order := c.Order(key)
		share[order[0]]++
		if order[0] == all[0] {
			second[order[1]]++
		}
		want := strings.Replace(order[0], "http://e", "http://user:xxxxx@E", 1)
		if got := same.Order(key); got[0] != want {
			t.Fatalf("object %d comes from %s or from %s, by the order of the list", i, want, got[0])
		}
		if order[0] != all[0] && fewer.Order(key)[0] != order[0] {
			t.Fatalf("object %d moved although its relay stayed", i)
		}
	}
	for _, r := range all {
		if n := share[r]; n < objects/len(all)*9/10 || n > objects/len(all)*11/10 {
			t.Errorf("%s is the first choice for %d of %d objects", r, n, objects)
		}
	}
	for _, r := range all[1:] {
		if n := second[r]; n < share[all[0]]/4*8/10 || n > share[all[0]]/4*12/10 {
			t.Errorf("%s is the second choice for %d of the first relay's %d objects", r, n, share[all[0]])
		}
	}
}
