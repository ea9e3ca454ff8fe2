package publish_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"github.com/nats-io/nats.go"
)

// wideLabels returns labels whose event is larger than 6 KB.
func wideLabels() map[string]string {
	labels := map[string]string{}
	for i := range dataset.MaxLabels {
		labels[fmt.Sprint("l", i)] = strings.Repeat("v", dataset.MaxLabelBytes)
	}
	return labels
}

// A version whose event is too large for the server does not hold up the versions after it.
func TestVersionThatCannotBeAnnouncedHoldsUpNoOther(t *testing.T) {
	wide := func(v int) publish.Input {
		in := input(fmt.Sprintf(`{"id":"a","v":%d}`, v))
		in.Labels = wideLabels()
		return in
	}
	w := newWorld(t)
	w.nats.Reconfigure(servertest.NATSConfig("max_payload: 6KB"))
	w.nats.Restart()
	await(t, "the smaller max_payload", func() bool { return w.nc.IsConnected() && w.nc.MaxPayload() == 6<<10 })

	w.commit(t, "prices", 1)
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := w.alive.Publish(t.Context(), "prices", wide(2))
	if err != nil || second.Announced || len(second.Warnings) != 1 {
		t.Fatalf("%+v: %v", second, err)
	}
	for _, text := range []string{"version prices/2 is committed but was not announced", "raise max_payload, or publish with fewer or shorter labels"} {
		if !strings.Contains(second.Warnings[0], text) {
			t.Errorf("the warning lacks %q: %s", text, second.Warnings[0])
		}
	}
	third, err := w.alive.Publish(t.Context(), "prices", input(`{"id":"a","v":3}`))
	if err != nil || !third.Announced || len(third.Warnings) != 1 || !strings.Contains(third.Warnings[0], "announce version prices/2") {
		t.Errorf("%+v: %v", third, err)
	}
	equal(t, "announced", []uint64{1, 3}, w.announced(t, "prices"))

	// So does a repair.
	if _, err := w.dead.Publish(t.Context(), "prices", wide(40)); err != nil {
		t.Fatal(err)
	}
	w.commit(t, "prices", 2)
	repairs, err := w.alive.Repair(t.Context())
	if !errors.Is(err, nats.ErrMaxPayload) || !strings.Contains(err.Error(), "prices/4") {
		t.Errorf("%+v: %v", repairs, err)
	}
	equal(t, "announced", []uint64{1, 3, 5, 6}, w.announced(t, "prices"))
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Error(err)
	}
}
