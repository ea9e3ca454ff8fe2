package load

import "testing"

// An instance serves version 2 and writes its snapshot while an operator pins it to version 1. The snapshot of version 2 must not replace
// version 1 in the cache folder, from which the instance starts again.
func TestShorteningDoesNotReplaceAPinnedVersion(t *testing.T) {
	first, file := version(t, 1, 100, 100)
	l, _ := loader(t, file)
	s := NewShortener(l.Cache)
	l.Shortener = s
	second, secondFile := version(t, 2, 100, 100)
	other, _ := loader(t, secondFile)
	other.Cache, other.Shortener = nil, s
	newer, err := other.Load(t.Context(), second, nil, nothing)
	if err != nil {
		t.Fatal(err)
	}
	newer.Swapped()
	pinned, err := l.Load(t.Context(), first, nil, nothing)
	if err == nil {
		pinned.Swapped()
		err = pinned.Finish(true)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		served, cached uint64
	}{{1, 1}, {2, 2}} { // the second is an instance that is unpinned
		s.swapped("prices", c.served)
		if err := s.shorten(t.Context(), shortenTry{second, newer.Value}); err != nil {
			t.Fatal(err)
		}
		if held, err := l.Cache.Held("prices"); err != nil || held.Record.Version != c.cached {
			t.Errorf("with version %d served, version %d is in the cache folder, %v", c.served, held.Record.Version, err)
		}
	}
}
