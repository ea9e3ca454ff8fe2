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
	"freshet.dev/pkg/subscribe/prom"
	"github.com/prometheus/client_golang/prometheus"
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
	if err := w.Add(dataset.Record{Key: []byte("A1"), Value: []byte(`{"sku":"A1","cents":995}`)}); err != nil {
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
	registry := prometheus.NewRegistry()
	sub, err := subscribe.Open(ctx, subscribe.Config{
		NATS:     natsURL,
		Relays:   []string{relay.URL},
		Datasets: []string{"prices"},
		Observer: prom.Observer(registry, "prices"), // metrics of refreshes
		// CacheDir: "/var/cache/my-service", // to serve at once after a restart
	})
	if err != nil {
		fmt.Println(err) // only a configuration that cannot work
		return
	}
	defer sub.Close()
	prom.Register(registry, sub) // metrics of what is served, and how fresh it is
	prices, err := sub.Dataset("prices")
	if err != nil {
		fmt.Println(err) // no such dataset in Datasets
		return
	}

	// Before the service takes requests: wait for the first version of every dataset.
	if err := sub.Wait(ctx); err != nil {
		fmt.Println(err) // names the datasets that are missing, and why
		return
	}

	// In a request: a lookup never waits. err is not nil only before the first version.
	value, ok, err := prices.Get("A1")
	fmt.Printf("%s %v %v\n", value, ok, err)

	// Lookups that belong together: a table is one version and never changes.
	table := prices.Table()
	fmt.Printf("version %d of %d records\n", table.Version(), table.Len())
	// Output:
	// {"sku":"A1","cents":995} true <nil>
	// version 7 of 1 records
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
	d, err := sub.Dataset("prices")
	if err != nil {
		fmt.Println(err)
		return
	}

	type price struct{ Cents int }
	prices, err := subscribe.NewView(d, func(_, value []byte) (p price, err error) {
		err = json.Unmarshal(value, &p)
		return p, err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := prices.Wait(ctx); err != nil {
		fmt.Println(err)
		return
	}
	p, ok, err := prices.Get("A1")
	fmt.Println(p.Cents, ok, err)
	// Output: 995 true <nil>
}

func ExampleDataset_OnSwap() {
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
	prices, err := sub.Dataset("prices")
	if err != nil {
		fmt.Println(err)
		return
	}

	cents := func(value []byte) (n int) {
		var price struct{ Cents int }
		if err := json.Unmarshal(value, &price); err != nil {
			return 0
		}
		return price.Cents
	}

	// An index of the service: the keys of prices below a dollar.
	var mu sync.RWMutex // guards cheap
	cheap := map[string]bool{}
	ready := make(chan struct{})
	stop, err := prices.OnSwap(func(swap subscribe.Swap) {
		mu.Lock()
		defer mu.Unlock()
		for c := range swap.Changes() { // every record in the first call, then the changed ones
			if key := string(c.Key); c.Op != subscribe.Removed && cents(c.New) < 1000 {
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
	defer stop() // ends the calls; Close of the subscriber does so too
	<-ready
	mu.RLock()
	defer mu.RUnlock()
	fmt.Println(cheap)
	// Output: map[A1:true]
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
	d, err := sub.Dataset("prices")
	if err != nil {
		fmt.Println(err)
		return
	}

	type price struct{ Cents int }
	prices, err := subscribe.NewView(d, func(_, value []byte) (p price, err error) {
		err = json.Unmarshal(value, &p) // once for each record, and again when a version changes the record
		return p, err
	}, subscribe.Eager())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := prices.Wait(ctx); err != nil { // the view follows a little after the table
		fmt.Println(err)
		return
	}
	p, ok, err := prices.Get("A1") // decodes nothing
	fmt.Println(prices.Version(), p.Cents, ok, err)
	// Output: 7 995 true <nil>
}

// BenchmarkTable measures what the served version costs a reader.
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
	prices := handle(sub, "prices")
	for b.Loop() {
		if prices.Table() == nil {
			b.Fatal("no table")
		}
	}
}

// BenchmarkGet compares a lookup through the handle with one in a table that the reader holds.
func BenchmarkGet(b *testing.B) {
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
	prices := handle(sub, "prices")
	b.Run("handle", func(b *testing.B) {
		for b.Loop() {
			if _, ok, _ := prices.Get("A1"); !ok {
				b.Fatal("no record")
			}
		}
	})
	table := prices.Table()
	b.Run("table", func(b *testing.B) {
		for b.Loop() {
			if _, ok := table.GetString("A1"); !ok {
				b.Fatal("no record")
			}
		}
	})
}
