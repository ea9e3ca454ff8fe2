package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/pkg/subscribe"
	records "freshet.dev/pkg/table"
)

// segmentBytes is the relay's unit. Each fault may cause one segment to be read or sent twice.
const segmentBytes = 256 << 10

// storm is a store and an event log. A test adds relays, instances and proxies.
type storm struct {
	t         *testing.T
	nats      *servertest.NATSServer
	storeURL  string
	publisher *publish.Publisher
}

// newStorm returns a storm with the store at the URL; empty means a temporary folder.
func newStorm(t *testing.T, storeURL string) *storm {
	t.Helper()
	if storeURL == "" {
		storeURL = "dir://" + t.TempDir()
	}
	s := &storm{t: t, nats: servertest.NATS(t), storeURL: storeURL}
	objects, err := storeurl.Open(t.Context(), storeURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { objects.Close() })
	nc, err := events.Connect(s.nats.URL, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	log, err := events.NewLog(nc, events.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.publisher, err = publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{Store: objects, Events: log})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// publish publishes a version with the given number of records of 2 KiB, half of which compresses away.
func (s *storm) publish(name string, seed byte, records int) dataset.VersionRecord {
	s.t.Helper()
	random := rand.NewChaCha8([32]byte{seed})
	var body bytes.Buffer
	value := make([]byte, 1<<10)
	for i := range records {
		random.Read(value)
		fmt.Fprintf(&body, `{"key":"%d-%d","value":"%s"}`+"\n", seed, i, hex.EncodeToString(value))
	}
	result, err := s.publisher.Publish(s.t.Context(), name, publish.Input{Body: &body, Key: "key", AllowShrink: true, Reason: "a storm"})
	if err != nil {
		s.t.Fatal(err)
	}
	return result.Record
}

// relay starts a relay of the origin; empty means the store.
func (s *storm) relay(origin string, settings ...string) *program {
	s.t.Helper()
	if origin == "" {
		origin = s.storeURL
	}
	return start(s.t, "relay", append([]string{"STORE_URL=" + origin}, settings...)...)
}

// instance opens an instance of the datasets with a stall timeout of 5 s.
func (s *storm) instance(datasets []string, relays ...string) *subscribe.Subscriber {
	s.t.Helper()
	sub, err := subscribe.Open(s.t.Context(), subscribe.Config{
		NATS: s.nats.URL, Relays: relays, Datasets: datasets, CacheDir: s.t.TempDir(),
		StallTimeout: 5 * time.Second, RetryInitial: 50 * time.Millisecond, RetryMax: time.Second,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := sub.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return sub
}

// servedTable returns the table that sub serves; nil before the first version.
func servedTable(t *testing.T, sub *subscribe.Subscriber, name string) *records.Table {
	t.Helper()
	d, err := sub.Dataset(name)
	if err != nil {
		t.Fatal(err)
	}
	return d.Table()
}

// awaitServed waits until sub serves the version of the record.
func awaitServed(t *testing.T, sub *subscribe.Subscriber, rec dataset.VersionRecord) {
	t.Helper()
	eventually(t, func(context.Context) error {
		table := servedTable(t, sub, rec.Dataset)
		if table == nil || table.Version() < rec.Version {
			status, _ := sub.Status().Dataset(rec.Dataset)
			return fmt.Errorf("the instance serves %+v, want %s", status, rec.ID())
		}
		return nil
	})
	if state := servedTable(t, sub, rec.Dataset).State(); state != rec.State {
		t.Errorf("the table of %s has the state %v, want %v", rec.ID(), state, rec.State)
	}
}

// checkServed waits until sub serves the version of the record, and checks it record by record.
func checkServed(t *testing.T, sub *subscribe.Subscriber, rec dataset.VersionRecord) {
	t.Helper()
	awaitServed(t, sub, rec)
	table := servedTable(t, sub, rec.Dataset)
	var state dataset.Checksum
	for k, v := range table.All() {
		state.Add(uint64(rec.Seed), dataset.AppendRecord(nil, dataset.Record{Key: k, Value: v}))
	}
	if state != rec.State {
		t.Errorf("the table of %s has the content %v, want %v", rec.ID(), state, rec.State)
	}
}

// counter returns the value of a program's metric. It retries while the program refuses the connection.
func counter(t *testing.T, p *program, name string) int64 {
	t.Helper()
	var body []byte
	eventually(t, func(ctx context.Context) error {
		status, _, text, err := do(ctx, http.MethodGet, p.URL+"/metrics", "", nil)
		if body = text; err != nil || status != http.StatusOK {
			return fmt.Errorf("metrics of %s: %d, %v", p.URL, status, err)
		}
		return nil
	})
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int64(v)
		}
	}
	t.Fatalf("%s has no metric %s", p.URL, name)
	return 0
}

func originBytes(t *testing.T, p *program) int64 {
	t.Helper()
	return counter(t, p, "freshet_relay_origin_bytes_total")
}

// within fails the test if got is less than want, or exceeds want by more than the faults may cost: for each fault a segment and the
// bytes in flight.
func within(t *testing.T, what string, got, want int64, faults int) {
	t.Helper()
	const onTheWay = 1 << 20
	most := want + int64(faults)*(segmentBytes+onTheWay)
	t.Logf("%s: %d bytes; the object has %d", what, got, want)
	if got < want || got > most {
		t.Errorf("%s: %d bytes, want %d to %d", what, got, want, most)
	}
}
