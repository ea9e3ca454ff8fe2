package relays_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/relays"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func set(t *testing.T, urls []string) *relays.Set {
	t.Helper()
	s, err := relays.New(urls, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// order returns the relays in their order for key.
func order(s *relays.Set, key []byte) []string {
	var all []string
	for _, r := range s.InOrder(key) {
		all = append(all, r.String())
	}
	return all
}

// Invariant: each relay ranks first for about its share of the objects, for any order of the configuration; when a relay is
// removed, only its own objects move.
func TestObjectsSpreadOverTheRelays(t *testing.T) {
	const objects = 10_000
	all := []string{"http://a:8481", "http://b:8481", "http://c:8481", "https://d/relay", "http://e:8481"}
	s := set(t, all)
	other := slices.Clone(all)
	slices.Reverse(other)
	other[0] = "http://user:password@E:8481/"
	same := set(t, other)
	fewer := set(t, all[1:])

	share := map[string]int{}
	second := map[string]int{}
	for i := range objects {
		key := binary.BigEndian.AppendUint64(nil, uint64(i))
		got := order(s, key)
		share[got[0]]++
		if got[0] == all[0] {
			second[got[1]]++
		}
		want := strings.Replace(got[0], "http://e", "http://xxxxx@E", 1)
		if first := order(same, key); first[0] != want {
			t.Fatalf("object %d comes from %s or from %s, by the order of the list", i, want, got[0])
		}
		if got[0] != all[0] && order(fewer, key)[0] != got[0] {
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
