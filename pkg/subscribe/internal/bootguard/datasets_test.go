package bootguard

import (
	"errors"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// A dataset that is not at fault keeps its version, also if that was not confirmed when another dataset's killed the process; if the
// process dies of it after all, it is quarantined, too.
func TestSeveralDatasets(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		names := []string{"a", "prices", "rules"}
		of := func(name string, v uint64) dataset.VersionRecord {
			r := record(v)
			r.Dataset = name
			return r
		}
		live := func(recs ...dataset.VersionRecord) map[string]int {
			dir := cachedir.New(root)
			defer dir.Close()
			g := New(dir, names, after, "boot")
			barred := map[string]int{}
			for _, name := range names {
				if err := g.Begin(name); err != nil {
					t.Error(err)
				}
				if n := len(g.Barred(name)); n > 0 {
					barred[name] = n
				}
			}
			for _, r := range recs {
				if g.Bars(r.Dataset, r.VersionID()) {
					continue
				}
				if err := errors.Join(g.Try(r), g.Swapped(r)); err != nil {
					t.Error(err)
				}
				pass(time.Millisecond)
			}
			return barred
		}
		live(of("a", 1), of("rules", 1), of("prices", 7)) // the last one kills it
		live(of("prices", 7), of("rules", 1), of("a", 1)) // from the cache folder, in any order
		if got := live(of("rules", 1), of("prices", 7), of("a", 1)); len(got) != 1 || got["prices"] != 1 {
			t.Errorf("quarantined are versions of %v, want of prices", got)
		}
		if got := live(); len(got) != 2 || got["rules"] != 1 {
			t.Errorf("after one more death quarantined are versions of %v, want of prices and rules", got)
		}
	})
}
