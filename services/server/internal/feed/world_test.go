package feed_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/server/internal/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// records are the records of a version.
type records map[string]string

// version is a version of the world's dataset.
type version struct {
	rec     dataset.VersionRecord
	id      dataset.VersionID
	table   *table.Table
	records records
}

func (v *version) ref() dataset.Ref { return dataset.Ref{Version: v.rec.Version, ID: v.id} }

// world is a dataset that serves what a test wants.
type world struct {
	t    testing.TB
	seed uint64

	mu        sync.Mutex
	ids       byte
	served    *version // nil before the first
	history   []*version
	kept      map[dataset.Ref]*table.Table
	deletes   *dataset.VersionRecord
	followers map[*follower]bool
}

func newWorld(t testing.TB) *world {
	return &world{t: t, seed: 7, kept: make(map[dataset.Ref]*table.Table), followers: make(map[*follower]bool)}
}

// serve serves a version with the number and the records, which has a new id.
func (w *world) serve(number uint64, all records) *version {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	v := &version{
		rec: dataset.VersionRecord{Dataset: "prices", Version: number, By: "test", Created: time.Unix(int64(number), 0).UTC()},
		id:  dataset.VersionID{w.ids}, table: load(w.t, w.seed, number, all), records: maps.Clone(all),
	}
	w.show(v)
	return v
}

// show makes v the served version, and keeps the one before. The caller holds mu.
func (w *world) show(v *version) {
	if w.served != nil {
		w.kept[w.served.ref()] = w.served.table
	}
	w.served, w.deletes = v, nil
	w.history = append(w.history, v)
	w.wake()
}

// replay pulls the served version again.
func (w *world) replay() {
	w.mu.Lock()
	defer w.mu.Unlock()
	again := *w.served
	again.table = load(w.t, w.seed, again.rec.Version, again.records)
	w.served = &again
	w.wake()
}

// remove deletes the dataset, whose table stays.
func (w *world) remove(number uint64, reason string) dataset.VersionRecord {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deletes = &dataset.VersionRecord{Dataset: "prices", Version: number, Deleted: true, By: "ops", Reason: reason, Created: time.Unix(9, 0).UTC()}
	w.wake()
	return *w.deletes
}

// forget drops the kept tables.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.kept)
}

func (w *world) wake() {
	for f := range w.followers {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
}

// recordsOf returns the records of the version with the number and the id.
func (w *world) recordsOf(ref dataset.Ref) (records, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.history {
		if v.ref() == ref {
			return v.records, true
		}
	}
	return nil, false
}

func (w *world) now() *version {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.served
}

// versions returns how many versions were served.
func (w *world) versions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.history)
}

// following returns the number of followers.
func (w *world) following() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.followers)
}

// Table implements [feed.Dataset].
func (w *world) Table() *table.Table {
	if v := w.now(); v != nil {
		return v.table
	}
	return nil
}

// Deleted implements [feed.Dataset].
func (w *world) Deleted() (rec dataset.VersionRecord, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deletes == nil {
		return dataset.VersionRecord{}, false
	}
	return *w.deletes, true
}

// Since implements [feed.Dataset].
func (w *world) Since(from dataset.Ref, to subscribe.Swap) (swap subscribe.Swap, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if from == (dataset.Ref{Version: to.Record.Version, ID: to.ID}) {
		to.Old = to.New
		return to, true
	}
	to.Old, ok = w.kept[from]
	return to, ok
}

// Follow implements [feed.Dataset].
func (w *world) Follow() feed.Follower {
	f := &follower{of: w, changed: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.followers[f] = true
	return f
}

type follower struct {
	of      *world
	changed chan struct{}
	last    *version
}

func (f *follower) Changed() <-chan struct{} { return f.changed }

func (f *follower) Take() (swap subscribe.Swap, ok bool) {
	v := f.of.now()
	if v == f.last {
		return subscribe.Swap{}, false
	}
	swap = subscribe.Swap{Dataset: "prices", Record: v.rec, ID: v.id, New: v.table, Full: true}
	if f.last != nil {
		swap.Old = f.last.table
	}
	f.last = v
	return swap, true
}

func (f *follower) Stop() {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	delete(f.of.followers, f)
}

// load returns a table of the records.
func load(t testing.TB, seed, version uint64, all records) *table.Table {
	t.Helper()
	var sorted []dataset.Record
	raw := 0
	for key, value := range all {
		r := dataset.Record{Key: []byte(key), Value: []byte(value)}
		sorted = append(sorted, r)
		raw += r.EncodedBytes()
	}
	slices.SortFunc(sorted, func(a, b dataset.Record) int {
		return cmp.Or(cmp.Compare(dataset.Hash(seed, a.Key), dataset.Hash(seed, b.Key)), bytes.Compare(a.Key, b.Key))
	})
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: seed, RawBytes: int64(raw)})
	for _, r := range sorted {
		if err == nil {
			err = w.Add(r)
		}
	}
	if err == nil {
		_, err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := table.Load(context.Background(), r, table.Config{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// site serves the world's feed at /changes.
type site struct {
	*world
	*httptest.Server
	mux  *web.Mux
	lane *lane.Lane
}

func config() feed.Config {
	return feed.Config{Most: 20, Stall: 10 * time.Second, Behind: time.Minute, Heartbeat: time.Minute, Ahead: time.Minute}
}

func newSite(t testing.TB, change ...func(*feed.Config)) *site {
	t.Helper()
	cfg := config()
	for _, f := range change {
		f(&cfg)
	}
	s := &site{world: newWorld(t), lane: lane.New(lane.Config{Name: "cpu", Width: 1, Queue: 100, Wait: time.Minute})}
	registry := web.NewRegistry()
	feeds := feed.New(cfg, feed.Deps{CPU: s.lane, Registry: registry, Datasets: []string{"prices"}})
	s.mux = web.NewMux(slog.New(slog.DiscardHandler), registry, func(context.Context, bool) (map[string]any, error) { return nil, nil })
	s.mux.Handle("GET /changes", func(w http.ResponseWriter, r *http.Request) error { return feeds.Serve(w, r, "prices", s) })
	s.Server = httptest.NewServer(s.mux)
	t.Cleanup(s.Server.Close)
	return s
}

// open requests the feed. cut ends the connection.
func (s *site) open(query string, header ...string) (res *http.Response, cut func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/changes"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if res, err = s.Client().Do(req); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { res.Body.Close() })
	return res, func() { cancel(); res.Body.Close() }
}

// metric returns the sum of the series of a metric whose lines begin with the text.
func (s *site) metric(line string) string {
	s.t.Helper()
	rec := httptest.NewRecorder()
	s.mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for text := range bytes.SplitSeq(rec.Body.Bytes(), []byte("\n")) {
		if value, ok := bytes.CutPrefix(text, []byte(line+" ")); ok {
			return string(value)
		}
	}
	return ""
}

// until waits until the condition holds.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(30 * time.Second); !condition(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// event is an event of a feed.
type event struct {
	Event, Op string
	Key       *string
	KeyBase64 []byte `json:"key_base64"`
	Value     json.RawMessage
	B64       *[]byte `json:"value_base64"`

	Dataset  string
	Version  uint64
	ID       dataset.VersionID
	Position string
	Records  any
	Created  time.Time
	Full     bool
	From     *dataset.Ref
	Changes  *dataset.Changes
	By       string
	Deleted  bool

	Why, Reason, Since string
	Dropped            bool
	Serves             *dataset.Ref

	lastID string // as an EventSource has it
}

var errEnd = errors.New("the feed ended")
