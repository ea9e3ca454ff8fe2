package subscribe_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"freshet.dev/pkg/subscribe"
)

// Invariant: when Close returns, the subscriber does no more work: none of its goroutines runs, the
// cache folder is free for another process, and it has no unfinished file.
func TestCloseWaitsForWhatGoesOn(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	p := &pipeline{w: w, name: "prices"}
	w.announce(p.commit(big(r, 800), true, 0))
	for round := range 15 {
		s, err := subscribe.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := subscribe.NewView(handle(s, "prices"), func(_, v []byte) (string, error) { return string(v), nil }, subscribe.Eager()); err != nil {
			t.Fatal(err)
		}
		next := mutate(r, p.content)
		for key := range next { // a delta so large that the cached snapshot is rewritten
			if r.IntN(2) == 0 {
				next[key] = fmt.Sprint(r.Uint64(), r.Uint64())
			}
		}
		w.announce(p.commit(next, round%3 == 0, 9))
		if round%5 > 0 {
			await(t, "a version", func() bool { tab := handle(s, "prices").Table(); return tab != nil && tab.Version() == p.last.Version })
		}
		select { // somewhere in the pull, the load, the commit to the cache folder or the new snapshot
		case <-time.After(time.Duration(r.IntN(20)) * time.Millisecond):
		case <-t.Context().Done():
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if left := working(); left != "" {
			t.Fatalf("round %d: after Close this goes on:\n%s", round, left)
		}
		lock := flock.New(filepath.Join(cfg.CacheDir, ".lock"))
		if free, err := lock.TryLock(); err != nil || !free {
			t.Errorf("round %d: the cache folder is not free: %v", round, err)
		}
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
		if unfinished, err := filepath.Glob(filepath.Join(cfg.CacheDir, "prices", "*.tmp")); err != nil || len(unfinished) > 0 {
			t.Errorf("round %d: %q are left: %v", round, unfinished, err)
		}
	}
}

// working returns the stacks of the goroutines that run code of a subscriber.
func working() string {
	all := make([]byte, 4<<20)
	all = all[:runtime.Stack(all, true)]
	var ours []string
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		for line := range strings.Lines(stack) {
			for _, prefix := range []string{"subscribe.", "subscribe/", "snapshot.", "table.", "fleet."} {
				if strings.HasPrefix(line, "freshet.dev/pkg/"+prefix) {
					ours = append(ours, stack)
				}
			}
		}
	}
	return strings.Join(ours, "\n\n")
}
