package relay_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/servertest"
)

// A record with the longest chain of deltas that a publisher makes is served from the catalog, a longer one than the catalog
// keeps from the store, and instances accept the longest possible one.
func TestLatestWithALongChain(t *testing.T) {
	rdb, err := catalog.Connect(servertest.Redis(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	index, inStore := catalog.New(rdb, ""), newMemory()
	h := newRelay(t, inStore, index).Handler()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	relays, err := pull.New(pull.Config{Relays: []string{s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relays.Close)
	for _, tc := range []struct {
		deltas int
		labels bool
		from   string
	}{
		{64, false, "catalog"},
		{256, false, "catalog"}, // what patches without a compactor come to
		{dataset.MaxDeltas, false, "store"},
		{dataset.MaxDeltas, true, "store"},
	} {
		t.Run(fmt.Sprint(tc.deltas, tc.labels), func(t *testing.T) {
			rec := record("cities", uint64(dataset.MaxDeltas+tc.deltas))
			rec.Snapshot.Version = rec.Version - uint64(tc.deltas)
			for v := rec.Snapshot.Version + 1; v <= rec.Version; v++ {
				rec.Deltas = append(rec.Deltas, dataset.Object{Version: v, Digest: sha256.Sum256(fmt.Append(nil, v)), Bytes: 1 << 40})
			}
			if tc.labels {
				rec.Version++ // the catalog goes forward only
				rec.Deltas = append(rec.Deltas[1:], dataset.Object{Version: rec.Version, Digest: dataset.Digest{1}, Bytes: 1})
				rec.Snapshot.Version++
				rec.Source, rec.Labels = strings.Repeat("s", dataset.MaxSourceBytes), map[string]string{}
				for l := range dataset.MaxLabels {
					rec.Labels[fmt.Sprintf("%0*d", dataset.MaxLabelBytes, l)] = strings.Repeat("\x01", dataset.MaxLabelBytes) // six bytes each in JSON
				}
			}
			inStore.latest["cities"] = rec
			if moved, err := index.Advance(context.Background(), rec); err != nil || !moved {
				t.Fatalf("%v, %v", moved, err)
			}
			do(t, h, "GET", "/v1/datasets/cities/latest") // from the store
			if from := do(t, h, "GET", "/v1/datasets/cities/latest").Header.Get("Freshet-From"); from != tc.from {
				t.Errorf("the answer is from %s, want %s", from, tc.from)
			}
			got, err := relays.Latest(t.Context(), "cities")
			if err != nil || got.Version != rec.Version || len(got.Deltas) != tc.deltas {
				t.Errorf("%s with %d deltas: %v", got.ID(), len(got.Deltas), err)
			}
			// Everything that instances and relays read of a version is far below the megabyte at which NATS refuses a
			// message.
			event, err := dataset.EncodeEvent(rec)
			if err != nil || len(event) > 256<<10 {
				t.Errorf("the event has %d bytes: %v", len(event), err)
			}
			t.Logf("the event has %d bytes", len(event))
		})
	}
}
