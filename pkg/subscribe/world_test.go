package subscribe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
)

// patience is how long a test waits for an event that must happen. It is long because the machine may be busy.
const patience = 30 * time.Second

const seed = 42

// world is everything around a subscriber: a real nats-server, a store in a folder, and a relay whose answers the test
// can change.
type world struct {
	t     *testing.T
	nats  *servertest.NATSServer
	nc    *nats.Conn
	log   *events.Log
	store store.Store
	relay *relay
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, nats: servertest.NATS(t)}
	var err error
	if w.nc, err = events.Connect(w.nats.URL, "test", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	if w.log, err = events.NewLog(w.nc, events.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := w.log.Ensure(w.context()); err != nil {
		t.Fatal(err)
	}
	if w.store, err = storeurl.Open(t.Context(), "dir://"+t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	w.relay = newRelay(t, w.store)
	return w
}

// context bounds what a test waits for.
func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// records is a dataset's content.
type records map[string]string

// build returns the snapshot of the records.
func build(t testing.TB, content records) ([]byte, snapshot.Totals) {
	t.Helper()
	keys := slices.SortedFunc(maps.Keys(content), func(a, b string) int {
		ha, hb := dataset.Hash(seed, []byte(a)), dataset.Hash(seed, []byte(b))
		if ha != hb {
			if ha < hb {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: seed, RawBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := w.Add(dataset.Record{Key: []byte(k), Value: []byte(content[k])}); err != nil {
			t.Fatal(err)
		}
	}
	totals, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), totals
}

// commit puts a version into the store and does not announce it.
func (w *world) commit(name string, version uint64, content records) dataset.VersionRecord {
	w.t.Helper()
	return w.commitAs(name, version, content, func(*dataset.VersionRecord) {})
}

// commitAs is commit with a change to the version record.
func (w *world) commitAs(name string, version uint64, content records, change func(*dataset.VersionRecord)) dataset.VersionRecord {
	w.t.Helper()
	file, totals := build(w.t, content)
	if err := w.store.PutObject(w.t.Context(), totals.Digest, totals.FileBytes, bytes.NewReader(file)); err != nil {
		w.t.Fatal(err)
	}
	rec := dataset.VersionRecord{
		Dataset: name, Version: version, Seed: seed, State: totals.State, PayloadBytes: totals.PayloadBytes,
		Snapshot: dataset.Object{Version: version, Digest: totals.Digest, Bytes: totals.FileBytes},
		Created:  time.Now().UTC(), Source: "test",
	}
	change(&rec)
	if err := w.store.PutVersion(w.t.Context(), rec); err != nil {
		w.t.Fatal(err)
	}
	return rec
}

func (w *world) announce(rec dataset.VersionRecord) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.log.Announce(ctx, rec); err != nil {
		w.t.Fatal(err)
	}
}

// publish commits and announces the version whose records all have the version's number as their value.
func (w *world) publish(name string, version uint64) dataset.VersionRecord {
	w.t.Helper()
	rec := w.commit(name, version, numbered(version))
	w.announce(rec)
	return rec
}

// numbered is the content of a version as publish makes it: a reader can tell a mixture of two.
func numbered(version uint64) records {
	content := records{}
	for i := range 20 {
		content[fmt.Sprintf("key%d", i)] = fmt.Sprint(version)
	}
	return content
}

// versionOf returns the version that t is by its content, and fails the test if it is a mixture.
func versionOf(t testing.TB, tab *table.Table) uint64 {
	t.Helper()
	if tab.Len() != 20 {
		t.Errorf("version %d has %d records, want 20", tab.Version(), tab.Len())
	}
	for k, v := range tab.All() {
		if string(v) != fmt.Sprint(tab.Version()) {
			t.Errorf("version %d has %s for %s", tab.Version(), v, k)
		}
	}
	return tab.Version()
}

// config confirms versions at once, so that the cache folder has the newest version alone.
func (w *world) config(datasets ...string) subscribe.Config {
	return subscribe.Config{
		ConfirmAfter: time.Nanosecond,
		NATS:         w.nats.URL, Relays: []string{w.relay.url}, Datasets: datasets, Instance: "i1",
		RetryInitial: 2 * time.Millisecond, RetryMax: 20 * time.Millisecond,
	}
}

// open opens a subscriber and closes it at the end of the test.
func open(t *testing.T, cfg subscribe.Config) *subscribe.Subscriber {
	t.Helper()
	s, err := subscribe.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// awaitVersion waits until s serves the version, and checks all of it.
func awaitVersion(t testing.TB, s *subscribe.Subscriber, name string, version uint64) {
	t.Helper()
	await(t, fmt.Sprintf("version %d of %s", version, name), func() bool { tab := handle(s, name).Table(); return tab != nil && tab.Version() >= version })
	if got := versionOf(t, handle(s, name).Table()); got != version {
		t.Fatalf("version %d of %s is served, want %d", got, name, version)
	}
}

func statusOf(t testing.TB, s *subscribe.Subscriber, name string) fleet.DatasetStatus {
	t.Helper()
	d, ok := s.Status().Dataset(name)
	if !ok {
		t.Fatalf("the status does not tell of %s", name)
	}
	return d
}

// warningOf returns the status's warnings except for those of beacons: most tests have no publisher, and on a busy machine some of
// them take so long that an instance is blind.
func warningOf(t testing.TB, s *subscribe.Subscriber, name string) string {
	t.Helper()
	var left []string
	for part := range strings.SplitSeq(statusOf(t, s, name).Warning, "; ") {
		if !strings.HasPrefix(part, "no beacon ") {
			left = append(left, part)
		}
	}
	return strings.Join(left, "; ")
}

// relay answers from a store as freshet-relay does, unless the test's fault function answers first.
type relay struct {
	t       *testing.T
	url     string
	store   store.Store
	server  *httptest.Server
	fault   atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
	objects atomic.Int64 // requests for objects
	latest  atomic.Int64 // requests for latest versions
	pins    atomic.Int64 // requests for pins
	records atomic.Int64 // requests for the records of versions
}

func newRelay(t *testing.T, s store.Store) *relay {
	r := &relay{t: t, store: s}
	r.start("127.0.0.1:0")
	t.Cleanup(func() { r.stop() })
	return r
}

// start begins to answer at the address.
func (r *relay) start(address string) {
	r.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.server = httptest.NewUnstartedServer(r)
	r.server.Listener.Close()
	r.server.Listener = l
	r.server.Start()
	r.url = r.server.URL
}

// stop ends the relay: connections are refused from then on.
func (r *relay) stop() {
	if r.server != nil {
		r.server.CloseClientConnections()
		r.server.Close()
		r.server = nil
	}
}

// restart begins to answer again at the same address.
func (r *relay) restart() { r.start(strings.TrimPrefix(r.url, "http://")) }

// fail makes f answer the requests for which it returns true; nil ends that.
func (r *relay) fail(f func(http.ResponseWriter, *http.Request) bool) {
	if f == nil {
		f = func(http.ResponseWriter, *http.Request) bool { return false }
	}
	r.fault.Store(&f)
}

func (r *relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	isPins := strings.HasSuffix(q.URL.Path, "/pins")
	isRecord := strings.Contains(q.URL.Path, "/versions/")
	isObject := strings.HasPrefix(q.URL.Path, "/v1/objects/")
	switch {
	case isObject:
		r.objects.Add(1)
	case isPins:
		r.pins.Add(1)
	case isRecord:
		r.records.Add(1)
	default:
		r.latest.Add(1)
	}
	if f := r.fault.Load(); f != nil && (*f)(w, q) {
		return
	}
	id, err := r.store.ID(q.Context())
	if err == nil && !id.IsZero() {
		w.Header().Set(pull.StoreHeader, id.String())
	}
	switch {
	case isObject:
		err = r.object(w, q)
	case isPins:
		err = r.pinsOf(w, q)
	case isRecord:
		err = r.versionOf(w, q)
	default:
		err = r.latestVersion(w, q)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		http.NotFound(w, q)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (r *relay) object(w http.ResponseWriter, q *http.Request) error {
	digest, err := dataset.ParseDigest(strings.TrimPrefix(q.URL.Path, "/v1/objects/"))
	if err != nil {
		return err
	}
	size, err := r.store.StatObject(q.Context(), digest)
	if err != nil {
		return err
	}
	body, err := r.store.OpenObject(q.Context(), digest, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	w.Header().Set("ETag", `"`+digest.String()+`"`)
	w.Header().Set("Content-Length", fmt.Sprint(size))
	_, _ = io.Copy(w, body) // fails when the client is gone
	return nil
}

func (r *relay) latestVersion(w http.ResponseWriter, q *http.Request) error {
	name := strings.TrimSuffix(strings.TrimPrefix(q.URL.Path, "/v1/datasets/"), "/latest")
	rec, err := r.store.Latest(q.Context(), name)
	if err != nil {
		return err
	}
	text, err := rec.Encode()
	if err != nil {
		return err
	}
	_, _ = w.Write(text)
	return nil
}

// logbook keeps the log of a subscriber.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logbook) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), text)
}

func (b *logbook) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), text)
}

func (b *logbook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// files returns the paths of the files below dir, but for boot.json, which outlives versions.
func files(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(paths, func(path string) bool { return filepath.Base(path) == "boot.json" })
}
