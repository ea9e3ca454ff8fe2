package keep_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/keep"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
	"freshet.dev/pkg/verify"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timed is a store whose clock a test can set forward and back. Times of files before a step stay as they were.
type timed struct {
	store.Store

	mu    sync.Mutex
	steps []step
	real  map[store.StoredObject]time.Time // the file's time of each object that was listed
}

type step struct {
	at time.Time // by the file system
	by time.Duration
}

func (s *timed) shift(t time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	shifted := t
	for _, step := range s.steps {
		if t.After(step.at) {
			shifted = shifted.Add(step.by)
		}
	}
	return shifted
}

// advance sets the clock forward, or back.
func (s *timed) advance(t *testing.T, by time.Duration) {
	t.Helper()
	at, err := s.Store.Clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.steps = append(s.steps, step{at, by})
	s.mu.Unlock()
	for now := at; !now.After(at); { // the clock of files has ticks
		if now, err = s.Store.Clock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *timed) Clock(ctx context.Context) (time.Time, error) {
	now, err := s.Store.Clock(ctx)
	return s.shift(now), err
}

func (s *timed) Objects(ctx context.Context) iter.Seq2[store.StoredObject, error] {
	return func(yield func(store.StoredObject, error) bool) {
		for o, err := range s.Store.Objects(ctx) {
			file := o.Modified
			o.Modified = s.shift(file).UTC()
			s.mu.Lock()
			s.real[o] = file
			s.mu.Unlock()
			if !yield(o, err) {
				return
			}
		}
	}
}

func (s *timed) RemoveObject(ctx context.Context, o store.StoredObject) (bool, error) {
	o.Modified = o.Modified.UTC()
	s.mu.Lock()
	o.Modified = s.real[o]
	s.mu.Unlock()
	return s.Store.RemoveObject(ctx, o)
}

func (s *timed) VersionTimes(ctx context.Context, name string, from uint64, limit int) ([]store.VersionTime, error) {
	times, err := s.Store.VersionTimes(ctx, name, from, limit)
	for i := range times {
		times[i].Time = s.shift(times[i].Time)
	}
	return times, err
}

func (s *timed) Notes(ctx context.Context, prefix string) ([]store.NoteInfo, error) {
	notes, err := s.Store.Notes(ctx, prefix)
	for i := range notes {
		notes[i].Modified = s.shift(notes[i].Modified)
	}
	return notes, err
}

// rig is a store with a publisher and a collector.
type rig struct {
	*publish.Publisher
	store     *timed
	journal   *journal.Journal
	collector *keep.Collector
	history   *history.Reader
	offset    time.Duration // of the process's clock

	pinned    map[string][]dataset.Ref
	served    map[string][]dataset.Ref
	servedErr error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	st, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return rigOn(t, st)
}

func rigOn(t *testing.T, st store.Store) *rig {
	t.Helper()
	r := &rig{store: &timed{Store: st, real: map[store.StoredObject]time.Time{}}, pinned: map[string][]dataset.Ref{}}
	r.open(t)
	return r
}

// folder returns the store's folder.
func (r *rig) folder(t *testing.T) string {
	t.Helper()
	return filepath.Dir(filepath.Dir(filepath.Dir(r.store.RecordPlace("prices", 1))))
}

// open opens the publisher and the collector, as after a restart.
func (r *rig) open(t *testing.T) {
	t.Helper()
	var err error
	if r.journal, err = journal.New(journal.Config{Fresh: -1}, journal.Deps{Store: r.store}); err != nil {
		t.Fatal(err)
	}
	settings := func(ctx context.Context, name string) (dataset.Settings, error) {
		current, err := r.journal.Settings(ctx, name)
		return current.Settings, err
	}
	if r.Publisher, err = publish.Open(publish.Config{TempDir: t.TempDir(), Workers: 2, MaxDeltas: 4, Settings: settings}, publish.Deps{Store: r.store}); err != nil {
		t.Fatal(err)
	}
	r.collector, err = keep.New(keep.Config{Grace: time.Hour}, keep.Deps{
		Store: r.store, Settings: settings, Journal: r.journal,
		Pinned: func(_ context.Context, name string) ([]dataset.Ref, error) { return r.pinned[name], nil },
		Served: func(context.Context) (map[string][]dataset.Ref, error) { return r.served, r.servedErr },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.collector.SetNow(func() time.Time { return time.Now().Add(r.offset) })
	r.history = history.New(history.Config{Workers: 1}, r.store)
}

// set sets the retention of a dataset.
func (r *rig) set(t *testing.T, name, values string) {
	t.Helper()
	var set map[string]json.RawMessage
	if err := json.Unmarshal([]byte(values), &set); err != nil {
		t.Fatal(err)
	}
	if _, err := r.journal.Set(t.Context(), name, journal.Change{Set: set, Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
}

// records returns an input of n records, which differ by seed.
func records(n, seed int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"id\":\"%d\",\"value\":%d}\n", i, i*1000+seed)
	}
	return b.String()
}

// publish publishes all records of a dataset.
func (r *rig) publish(t *testing.T, name, text string) dataset.VersionRecord {
	t.Helper()
	result, err := r.Publish(t.Context(), name, publish.Input{Body: strings.NewReader(text), Key: "id"})
	if err != nil {
		t.Fatal(err)
	}
	return result.Record
}

// patch changes one record of a dataset.
func (r *rig) patch(t *testing.T, name string, value int) dataset.VersionRecord {
	t.Helper()
	result, err := r.Patch(t.Context(), name, publish.PatchInput{Input: publish.Input{Body: strings.NewReader(fmt.Sprintf(`{"id":"1","value":%d}`, value)), Key: "id"}})
	if err != nil {
		t.Fatal(err)
	}
	return result.Record
}

// pass lets time pass, for the store and the process.
func (r *rig) pass(t *testing.T, d time.Duration) {
	t.Helper()
	r.store.advance(t, d)
	r.offset += d
}

func (r *rig) gc(t *testing.T) *keep.Report {
	t.Helper()
	report, err := r.collector.Run(t.Context(), keep.Request{By: "ann@host"})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// collect runs the collector until it has nothing to do, with time in between.
func (r *rig) collect(t *testing.T) (reports []*keep.Report) {
	t.Helper()
	for range 10 {
		r.pass(t, 2*time.Hour)
		report := r.gc(t)
		reports = append(reports, report)
		if len(report.Waiting) > 0 {
			t.Fatalf("the collector waits: %v", report.Waiting)
		}
		if report.Marked.Objects+report.Removed.Objects == 0 {
			return reports
		}
	}
	t.Fatal("the collector does not end")
	return nil
}

// state returns the report about a dataset of a dry run.
func (r *rig) state(t *testing.T, name string) keep.DatasetReport {
	t.Helper()
	report, err := r.collector.Run(t.Context(), keep.Request{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Datasets {
		if d.Dataset == name {
			return d
		}
	}
	t.Fatalf("the report has no dataset %s: %+v", name, report)
	return keep.DatasetReport{}
}

// readable returns the versions of a dataset whose records can all be read.
func (r *rig) readable(t *testing.T, name string) (list []uint64) {
	t.Helper()
	newest, err := r.store.Latest(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	reader := history.New(history.Config{Workers: 1}, r.store) // without the blocks that another has in memory
versions:
	for version := uint64(1); version <= newest.Version; version++ {
		v, err := reader.Open(t.Context(), name, version)
		if err != nil {
			continue
		}
		for _, err := range v.Records(t.Context(), nil) {
			if err != nil {
				continue versions
			}
		}
		list = append(list, version)
	}
	return list
}

// clean fails the test if a verification finds something.
func (r *rig) clean(t *testing.T) {
	t.Helper()
	v, err := verify.New(verify.Config{TempDir: t.TempDir()}, verify.Deps{Store: r.store})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Run(t.Context(), nil, func(f verify.Finding) error {
		t.Errorf("verify finds: %s %s %d: %s", f.Kind, f.Dataset, f.Version, f.Problem)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// objects returns the objects in the store.
func (r *rig) objects(t *testing.T) map[dataset.Digest]int64 {
	t.Helper()
	all := map[dataset.Digest]int64{}
	for o, err := range r.store.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[o.Digest] = o.Bytes
	}
	return all
}

func equal(t *testing.T, what string, got, want []uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: versions %v, want %v", what, got, want)
	}
}
