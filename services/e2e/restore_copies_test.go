package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Invariant: while two publishers are on two copies of one store, every instance says so, names both, is stale and stays where it is.
// When one of the two is gone, all instances follow the other's store.
func TestTwoCopiesOfAStoreInUse(t *testing.T) {
	w := newRestoration(t, 2)
	for _, k := range []kind{running, cacheless} {
		w.follow(string(k), k != cacheless)
	}
	for w.newest() < 3 {
		w.patch(8)
	}
	w.follows("before there is a copy")
	history := w.history[:3:3]
	other := &system{Redis: w.Redis, NATS: w.NATS}
	other.Publisher = w.publisher([]string{"REDIS_URL=" + w.Redis.URL, "NATS_URL=" + w.NATS.URL, "STORE_URL=dir://" + w.copied()})
	copied := *w.ledger
	copied.s, copied.history = other, history
	began := time.Now()
	copied.patch(8)
	w.patch(8)
	for _, i := range w.fleet {
		eventuallyIn(t, followsWithin, func(ctx context.Context) error {
			d, err := (&subject{program: i.program, name: w.name}).status(ctx)
			if err == nil && (d.State != "blind" || !strings.Contains(d.Warning, "copy") && !strings.Contains(d.Warning, "copies")) {
				err = fmt.Errorf("%s says %s on version %d, and warns: %q; want blind, and both publishers named", i.name, d.State, d.Version, d.Warning)
			}
			return err
		})
	}
	if _, err := w.freshet(t.Context(), "status", w.name, "--fail-if-stale"); exitCode(err) != 7 {
		t.Errorf("publishers contradict each other, and status --fail-if-stale ends with %v, want exit code 7", err)
	}
	gone := time.Now()
	other.Publisher.Stop()
	w.patch(8)
	w.follows("the copy is gone")
	w.cost("a copy of the store is in use", began, gone)
	w.checkClaims(began, gone.Add(settles))
}
