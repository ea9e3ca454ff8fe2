package load

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/relays"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// damagedFirst returns a client of a relay that serves broken and of another that serves file. The client requests o from the broken one
// first.
func damagedFirst(t *testing.T, o dataset.Object, broken, file []byte) *pull.Client {
	t.Helper()
	var asked atomic.Value
	serve := func(content []byte) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				asked.Store(&content[0])
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	bad, good := serve(broken), serve(file)
	for i := range 100 {
		c, err := pull.New(pull.Config{Relays: []string{fmt.Sprint(bad, "/", i), fmt.Sprint(good, "/", i)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		body, err := c.Object(t.Context(), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		if asked.Load() == &broken[0] {
			return c
		}
	}
	t.Fatal("the broken relay is never the first")
	return nil
}

// Invariant: whichever part of a file a relay damages, the load continues with that part from another relay. The table and the cache
// folder have the right bytes, and the relay is distrusted.
func TestDamagedPartIsPulledFromAnotherRelay(t *testing.T) {
	rec, file := version(t, 1, 3000, 1000)
	for _, at := range []int{0, 20, 40, len(file) / 3, len(file) - 200, len(file) - 1} {
		broken := bytes.Clone(file)
		broken[at] ^= 0x10
		c := damagedFirst(t, rec.Snapshot, broken, file)
		dir := cachedir.New(t.TempDir())
		l := &Loader{Pull: c, Cache: dir}
		v, err := l.Load(t.Context(), rec, nil, nothing)
		if err != nil || v.Value.State() != rec.State {
			t.Fatalf("byte %d: %v", at, err)
		}
		if most := rec.Snapshot.Bytes + 600<<10; v.Pull.Bytes > most {
			t.Errorf("byte %d: %d bytes were pulled, more than the object and a block", at, v.Pull.Bytes)
		}
		if err := v.Finish(true); err != nil {
			t.Errorf("byte %d: %v", at, err)
		}
		if stored, err := l.Stored(t.Context(), "prices", nothing); err != nil || stored.Value.State() != rec.State {
			t.Errorf("byte %d: the cache folder: %v", at, err)
		}
		if h := c.Health(); h[0].Standing != relays.Distrusted || h[0].Refusals != 1 || h[1].Standing != relays.Good || h[1].Refusals != 0 {
			t.Errorf("byte %d: the relays' health is %+v", at, h)
		}
		dir.Close()
	}
}

// Invariant: with one relay that is wrong, or two, nothing is served.
func TestNoOtherRelayIsLeft(t *testing.T) {
	rec, file := version(t, 1, 1000, 1000)
	one, other := bytes.Clone(file), bytes.Clone(file)
	one[len(file)/2] ^= 1
	other[len(file)/2+1] ^= 1
	c := damagedFirst(t, rec.Snapshot, one, other)
	l := &Loader{Pull: c}
	for range 3 {
		if _, err := l.Load(t.Context(), rec, nil, nothing); err == nil {
			t.Fatal("damaged bytes were loaded")
		}
	}
}

// Invariant: another file whose parts are all undamaged is refused for its digest, and its relay is distrusted.
func TestAnotherFileIsRefusedForItsDigest(t *testing.T) {
	rec, _ := version(t, 1, 100, 1000)
	_, wrong := version(t, 2, 100, 1000)
	rec.Snapshot.Bytes = int64(len(wrong)) // another length would be refused at once
	c := damagedFirst(t, rec.Snapshot, wrong, wrong)
	l := &Loader{Pull: c}
	if _, err := l.Load(t.Context(), rec, nil, nothing); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Fatalf("another file: %v, want that its digest is wrong", err)
	}
	if h := c.Health(); h[0].Refusals+h[1].Refusals != 1 {
		t.Errorf("the relays' health is %+v, want one that is distrusted", h)
	}
}
