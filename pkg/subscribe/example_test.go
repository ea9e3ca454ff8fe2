package subscribe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe"
)

// These examples run without servers: natsURL is a port on which nothing listens, so the instance asks the relay
// instead of the event log, and relay stands for freshet-relay.
const natsURL = "nats://127.0.0.1:1"

func relayWithPrices() *httptest.Server {
	var object bytes.Buffer
	w, err := snapshot.NewWriter(&object, snapshot.WriterConfig{Kind: snapshot.Snapshot})
	if err != nil {
		panic(err)
	}
	if err := w.Add(dataset.Record{Key: []byte("apple"), Value: []byte(`{"key":"apple","cents":45}`)}); err != nil {
		panic(err)
	}
	totals, err := w.Close()
	if err != nil {
		panic(err)
	}
	rec := dataset.VersionRecord{
		Dataset: "prices", Version: 7, State: totals.State, Created: time.Now(),
		Snapshot: dataset.Object{Version: 7, Digest: totals.Digest, Bytes: totals.FileBytes},
	}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/latest") {
			json.NewEncoder(w).Encode(rec)
			return
		}
		w.Write(object.Bytes())
	}))
}

func ExampleOpen() {
	relay := relayWithPrices()
	defer relay.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sub, err := subscribe.Open(ctx, subscribe.Config{
		NATS:     natsURL,
		Relays:   []string{relay.URL},
		Datasets: []string{"prices"},
		// CacheDir: "/var/cache/my-service", // to serve at once after a restart
	})
	if err != nil {
		fmt.Println(err) // only a configuration that cannot work
		return
	}
	defer sub.Close()

	// Before the service takes requests: wait for the first version of every dataset.
	if err := sub.Wait(ctx); err != nil {
		fmt.Println(err) // names the datasets that are missing, and why
		return
	}

	// In a request: never waits, and what it returns never changes.
	prices := sub.Table("prices")
	value, ok := prices.GetString("apple")
	fmt.Printf("version %d of %d records: %s %v\n", prices.Version(), prices.Len(), value, ok)
	// Output: version 7 of 1 records: {"key":"apple","cents":45} true
}

func ExampleNewView() {
	relay := relayWithPrices()
	defer relay.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sub, err := subscribe.Open(ctx, subscribe.Config{NATS: natsURL, Relays: []string{relay.URL}, Datasets: []string{"prices"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()

	type price struct{ Cents int }
	prices, err := subscribe.NewView(sub, "prices", func(_, value []byte) (p price, err error) {
		err = json.Unmarshal(value, &p)
		return p, err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sub.Wait(ctx, "prices"); err != nil {
		fmt.Println(err)
		return
	}
	p, ok, err := prices.Get("apple")
	fmt.Println(p.Cents, ok, err)
	// Output: 45 true <nil>
}

func ExampleSubscriber_OnSwap() {
	relay := relayWithPrices()
	defer relay.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sub, err := subscribe.Open(ctx, subscribe.Config{NATS: natsURL, Relays: []string{relay.URL}, Datasets: []string{"prices"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()

	cents := func(value []byte) (n int) {
		var price struct{ Cents int }
		if err := json.Unmarshal(value, &price); err != nil {
			return 0
		}
		return price.Cents
	}

	// The service's own index beside the dataset: the keys of what costs less than a dollar.
	var mu sync.RWMutex // guards cheap
	cheap := map[string]bool{}
	ready := make(chan struct{})
	err = sub.OnSwap("prices", func(swap subscribe.Swap) {
		mu.Lock()
		defer mu.Unlock()
		for c := range swap.Changes() { // at first every record, then those that changed
			if key := string(c.Key); c.Op != snapshot.Removed && cents(c.New) < 100 {
				cheap[key] = true
			} else {
				delete(cheap, key)
			}
		}
		if swap.Old == nil {
			close(ready)
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-ready
	mu.RLock()
	defer mu.RUnlock()
	fmt.Println(cheap)
	// Output: map[apple:true]
}

func ExampleEager() {
	relay := relayWithPrices()
	defer relay.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sub, err := subscribe.Open(ctx, subscribe.Config{NATS: natsURL, Relays: []string{relay.URL}, Datasets: []string{"prices"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()

	type price struct{ Cents int }
	prices, err := subscribe.NewView(sub, "prices", func(_, value []byte) (p price, err error) {
		err = json.Unmarshal(value, &p) // once for each record, and again for those that a version changes
		return p, err
	}, subscribe.Eager())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := prices.Wait(ctx); err != nil { // for the view, which comes a little after the table
		fmt.Println(err)
		return
	}
	p, ok, err := prices.Get("apple") // decodes nothing
	fmt.Println(prices.Version(), p.Cents, ok, err)
	// Output: 7 45 true <nil>
}

// BenchmarkTable is what it costs a reader to get at the served version.
func BenchmarkTable(b *testing.B) {
	relay := relayWithPrices()
	defer relay.Close()
	sub, err := subscribe.Open(b.Context(), subscribe.Config{NATS: natsURL, Relays: []string{relay.URL}, Datasets: []string{"prices"}})
	if err != nil {
		b.Fatal(err)
	}
	defer sub.Close()
	if err := sub.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if sub.Table("prices") == nil {
			b.Fatal("no table")
		}
	}
}
