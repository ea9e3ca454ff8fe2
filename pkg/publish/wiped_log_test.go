package publish_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sourcegraph/conc/pool"
)

// A publish that comes before the repair of a log that was deleted announces all that the repair would have, in order.
func TestPublishRestoresTheHistoryOfAWipedLog(t *testing.T) {
	const versions = 50
	w := newWorld(t)
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, "prices", versions)
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := func(n int) (all []uint64) {
		for v := range uint64(n) {
			all = append(all, v+1)
		}
		return all
	}
	equal(t, "announced at first", want(versions), w.announced(t, "prices"))
	wipe := func() {
		t.Helper()
		if err := js.DeleteStream(t.Context(), "FRESHET"); err != nil {
			t.Fatal(err)
		}
	}
	publishOne := func(n int) {
		t.Helper()
		result, err := w.publisher(t, w.dead.store).Publish(t.Context(), "prices", input(fmt.Sprintf(`{"id":"a","n":%d}`, n)))
		if err != nil || result.Record.Version != uint64(n) || !result.Announced || len(result.Warnings) > 0 {
			t.Fatalf("%+v, %v", result, err)
		}
	}

	wipe()
	publishOne(versions + 1)
	equal(t, "announced by a publish", want(versions+1), w.announced(t, "prices"))

	wipe()
	both := pool.New().WithErrors()
	both.Go(func() error {
		_, err := w.alive.Repair(t.Context())
		return err
	})
	publishOne(versions + 2)
	if err := both.Wait(); err != nil {
		t.Error(err)
	}
	equal(t, "announced by a publish beside a repair", want(versions+2), w.announced(t, "prices"))

	// A damaged record in the middle is left out, and holds up neither those after it nor the publish.
	w.dead.damageRecord(t, "prices", 40)
	wipe()
	publishOne(versions + 3)
	all := want(versions + 3)
	equal(t, "announced without a damaged record", append(all[:39:39], all[40:]...), w.announced(t, "prices"))

	// Nor does a damaged record just before the version that is announced.
	w.dead.damageRecord(t, "prices", versions+2)
	wipe()
	publishOne(versions + 3) // the same content
	all = append(all[:39:39], all[40:versions+1]...)
	equal(t, "announced without the record before", append(all, versions+3), w.announced(t, "prices"))
}
