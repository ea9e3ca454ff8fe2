package load

import (
	"errors"
	"testing"
	"time"
	"weak"

	"freshet.dev/pkg/dataset"
)

// The store is restored while version 9 is served and cached. The next version of the instance cannot be cached. The try that cached
// version 9 does not count for it, whatever its number.
func TestOneHistoryDoesNotStandForAnother(t *testing.T) {
	cache := cacheOn(t, &disk{})
	s := NewShortener(cache)
	try := func(rec dataset.VersionRecord, tab shortenTry) error {
		if err := s.request(rec, weak.Make(tab.table)); err != nil {
			t.Fatal(err)
		}
		return s.onTried(time.Now(), rec.Dataset, tab, s.shorten(t.Context(), tab))
	}
	lost, tab := tableOf(t, 9, 100, 100)
	if err := try(lost, shortenTry{lost, tab}); err != nil || s.Kept("prices") != lost.Ref() {
		t.Fatalf("%v is kept, %v", s.Kept("prices"), err)
	}
	full := errors.New("no space left on device")
	if err := s.CacheError("prices", lost.Ref(), full); err != nil {
		t.Errorf("a try has made version 9 cached, and the status says %v", err)
	}
	for name, served := range map[string]dataset.Ref{
		"another version 9": {Version: 9, ID: dataset.VersionID{1}},
		"a version below":   {Version: 6, ID: dataset.VersionID{1}},
		"a version above":   {Version: 10, ID: dataset.VersionID{1}},
	} {
		if err := s.CacheError("prices", served, full); err != full {
			t.Errorf("%s could not be kept, and the status says %v", name, err)
		}
	}

	// A try that keeps version 9 has not cached the version below it.
	below, lower := tableOf(t, 6, 100, 100)
	if err := try(below, shortenTry{below, lower}); err != nil {
		t.Fatal(err)
	}
	held, err := cache.Held("prices")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CacheError("prices", below.Ref(), full); (err == nil) != (held.Record.Ref() == below.Ref()) {
		t.Errorf("version %s is cached, version %s is served, and the status says %v", held.Record.Ref(), below.Ref(), err)
	}
}
