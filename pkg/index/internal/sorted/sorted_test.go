package sorted

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func never() {}

// model is a set in the simplest form.
type model map[string]bool

func (m model) sorted() []string {
	all := make([]string, 0, len(m))
	for x := range m {
		all = append(all, x)
	}
	slices.Sort(all)
	return all
}

// check compares s with the model: all entries, and searches near to and far from them.
func check(t interface {
	Helper()
	Fatalf(string, ...any)
}, s *Set, m model, probes ...string,
) {
	t.Helper()
	want := m.sorted()
	var got []string
	for x := range s.From(nil) {
		got = append(got, string(x))
	}
	if !slices.Equal(got, want) || s.Len() != len(want) {
		t.Fatalf("the set has %d entries, Len is %d, want %d: %.200q, want %.200q", len(got), s.Len(), len(want), got, want)
	}
	exact := len(s.chunks) == 0 || len(s.chunks) == 1 && len(s.chunks[0].leaves) == 1
	for _, c := range s.chunks {
		if c.head != c.leaves[0].head || len(c.leaves) > 2*chunkLeaves {
			t.Fatalf("a chunk of %d leaves with the head %x, want that of its first leaf, %x", len(c.leaves), c.head, c.leaves[0].head)
		}
	}
	for _, x := range append(probes, want...) {
		for _, probe := range []string{x, x + "\x00", x + "\xff", x[:len(x)/2]} {
			i := sort.SearchStrings(want, probe)
			first, ok := s.First([]byte(probe), nil)
			if ok != (i < len(want)) || ok && string(first) != want[i] {
				t.Fatalf("First(%q) is %q, %v, want entry %d", probe, first, ok, i)
			}
			before, ok := s.Before([]byte(probe), nil)
			if ok != (i > 0) || ok && string(before) != want[i-1] {
				t.Fatalf("Before(%q) is %q, %v, want entry %d", probe, before, ok, i-1)
			}
			if about := s.About([]byte(probe), nil); exact && about != len(want)-i {
				t.Fatalf("About(%q) is %d, want %d", probe, about, len(want)-i)
			}
		}
	}
}

// Random edits make the set that the model has, and leave the set before as it was.
func TestEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]string{"ab", "\x00\x01\xff", "abcdefghij"}).Draw(t, "alphabet")
		entry := rapid.Custom(func(t *rapid.T) string {
			var b strings.Builder
			for range rapid.IntRange(0, 6).Draw(t, "length") {
				b.WriteByte(alphabet[rapid.IntRange(0, len(alphabet)-1).Draw(t, "letter")])
			}
			if rapid.IntRange(0, 40).Draw(t, "long") == 0 {
				b.WriteString(strings.Repeat("z", MaxEntryBytes-8))
			}
			return b.String()
		})
		s, m := &Set{}, model{}
		for range rapid.IntRange(1, 5).Draw(t, "versions") {
			before, old := s, model{}
			for x := range m {
				old[x] = true
			}
			var e Edits
			added := map[string]bool{}
			for range rapid.IntRange(0, 250).Draw(t, "edits") {
				x := entry.Draw(t, "entry")
				if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
					e.Remove([]byte(x[:len(x)/2]), []byte(x[len(x)/2:]))
					if !added[x] {
						delete(m, x)
					}
					continue
				}
				added[x] = true
				e.Add([]byte(x))
				m[x] = true
			}
			s = s.Apply(&e, never)
			check(t, s, m, "", "\xff\xff")
			check(t, before, old)
		}
	})
}

// A set that grows, changes and shrinks in small and large steps stays right, and its blocks and chunks keep their sizes.
func TestLargeSets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s, m := &Set{}, model{}
	for step := range 60 {
		var e Edits
		size := []int{1, 10, 3000, 30_000}[rng.IntN(4)]
		base := rng.IntN(200_000)
		for range size {
			x := fmt.Sprintf("entry-%07d", base+rng.IntN(60_000))
			if rng.IntN(3) == 0 || step > 40 {
				e.Remove([]byte(x))
				if !m[x] {
					continue
				}
				delete(m, x)
				continue
			}
			e.Add([]byte(x))
			m[x] = true
		}
		// The last edit of an entry counts in the model, an addition in the set.
		for x := range e.additions() {
			m[x] = true
		}
		s = s.Apply(&e, never)
	}
	check(t, s, m)
	leaves := 0
	for _, c := range s.chunks {
		leaves += len(c.leaves)
	}
	if least := len(m) / (2 * blockEntries); leaves > 6*least+2 || len(s.chunks) > leaves/(chunkLeaves/8)+2 {
		t.Errorf("%d entries are in %d leaves of %d chunks", len(m), leaves, len(s.chunks))
	}
	var e Edits
	for x := range m {
		e.Remove([]byte(x))
	}
	if s = s.Apply(&e, never); s.Len() != 0 || s.Bytes() != 0 || len(s.chunks) != 0 {
		t.Errorf("an emptied set has %d entries, %d bytes", s.Len(), s.Bytes())
	}
}

func (e *Edits) additions() map[string]bool {
	all := map[string]bool{}
	for _, d := range e.edits {
		if d.add {
			all[string(e.entry(d))] = true
		}
	}
	return all
}

// One change copies one block, the list of its chunk and the list of chunks.
func TestSmallChangesShare(t *testing.T) {
	var e Edits
	for i := range 200_000 {
		e.Add(fmt.Appendf(nil, "entry-%07d", i))
	}
	s := (&Set{}).Apply(&e, never)
	e.Reset()
	e.Add([]byte("entry-0100000x"))
	next := s.Apply(&e, never)
	old := map[*byte]bool{}
	for _, c := range s.chunks {
		for _, l := range c.leaves {
			old[&l.block[0]] = true
		}
	}
	copied, chunks := 0, 0
	for i, c := range next.chunks {
		if &c.leaves[0] != &s.chunks[i].leaves[0] {
			chunks++
		}
		for _, l := range c.leaves {
			if !old[&l.block[0]] {
				copied++
			}
		}
	}
	if copied > 2 || chunks != 1 {
		t.Errorf("one change copied %d blocks and %d lists", copied, chunks)
	}
	allocated := testing.AllocsPerRun(10, func() { s.Apply(&e, never) })
	if allocated > 30 {
		t.Errorf("one change allocates %v times", allocated)
	}
	if first, _ := next.First([]byte("entry-0100000"), nil); !bytes.Equal(first, []byte("entry-0100000")) {
		t.Errorf("found %q", first)
	}
}
