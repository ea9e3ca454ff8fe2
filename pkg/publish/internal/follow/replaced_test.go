package follow

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// Invariant: the versions of another store are replaced once a minute at the most, for each dataset and each target, and
// those of the own store whenever they are not in its history.
func TestReplacementsOfAnotherStoreAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := dataset.NewStoreID(), dataset.NewStoreID()
		over := dataset.VersionRecord{Dataset: "prices", Version: 7, StoreID: theirs}
		newest := dataset.Ref{Version: 3, ID: dataset.VersionID{1}}
		var r replaced
		for range 3 {
			if err := r.allow(Announce, over, ours, newest); err != nil {
				t.Errorf("the first replacement in a minute: %v", err)
			}
			r.done(Announce, over, ours)
			if err := r.allow(Announce, over, ours, newest); !errors.Is(err, events.ErrConflict) {
				t.Errorf("a second replacement at once: got %v, want ErrConflict", err)
			}
			for what, other := range map[string]dataset.VersionRecord{
				Index:    over,
				Announce: {Dataset: "stock", Version: 7, StoreID: theirs},
			} {
				if err := r.allow(what, other, ours, newest); err != nil {
					t.Errorf("%s of %s: %v", what, other.Dataset, err)
				}
			}
			if err := r.allow(Announce, dataset.VersionRecord{Dataset: "prices", StoreID: ours}, ours, newest); err != nil {
				t.Errorf("a version of the own store: %v", err)
			}
			time.Sleep(replaceAgain)
		}
	})
}
