package journal

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/store"
)

// empty is a store without journals.
type empty struct{ store.Store }

func (empty) NewestEntry(context.Context, string) (uint64, error) { return 0, nil }

// Names in requests do not fill the memory, and datasets that have journals are remembered.
func TestKnownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, err := New(Config{}, Deps{Store: empty{}})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(prefix string, n int) {
			t.Helper()
			for i := range n {
				if _, err := j.Settings(t.Context(), fmt.Sprint(prefix, i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		ask("none-", 5*maxKnown)
		if len(j.known) != maxKnown {
			t.Errorf("%d names are remembered, want %d", len(j.known), maxKnown)
		}
		j.remember("prices", known{newest: 1, looked: time.Now()})
		if j.known["prices"].newest != 1 {
			t.Error("a dataset with a journal is not remembered")
		}
		time.Sleep(2 * maxFresh)
		ask("later-", 1)
		if len(j.known) != 1 {
			t.Errorf("%d names are remembered, want the last one", len(j.known))
		}
	})
}
