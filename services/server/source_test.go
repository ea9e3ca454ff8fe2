package server_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
	"freshet.dev/services/server"
	"freshet.dev/services/server/internal/feed"
)

// source serves the tables of a test.
type source struct {
	names  []string
	tables map[string]*atomic.Pointer[table.Table]
	// indexed has the indexes of datasets.
	indexed map[string]*atomic.Pointer[index.Set]
	// deleted has the versions that delete datasets.
	deleted   map[string]dataset.VersionRecord
	mu        sync.Mutex
	followers map[*follower]bool // guarded by mu
	// says changes the status of a dataset; nil for no change.
	says map[string]func(*fleet.DatasetStatus)
	// swapped is closed and replaced when a version is served.
	swapped atomic.Pointer[chan struct{}]
}

func newSource(names ...string) *source {
	s := &source{names: names, tables: make(map[string]*atomic.Pointer[table.Table]), says: make(map[string]func(*fleet.DatasetStatus)), deleted: make(map[string]dataset.VersionRecord), followers: make(map[*follower]bool), indexed: make(map[string]*atomic.Pointer[index.Set])}
	s.swapped.Store(new(make(chan struct{})))
	for _, n := range names {
		s.tables[n] = new(atomic.Pointer[table.Table])
		s.indexed[n] = new(atomic.Pointer[index.Set])
	}
	return s
}

func (s *source) Datasets() []string { return slices.Clone(s.names) }

// served is one dataset of a source.
type served struct {
	*atomic.Pointer[table.Table]
	source *source
	name   string
}

func (d served) Deleted() (rec dataset.VersionRecord, ok bool) {
	rec, ok = d.source.deleted[d.name]
	return rec, ok
}

func (d served) Indexes() *index.Set { return d.source.indexed[d.name].Load() }

func (d served) Table() *table.Table { return d.Load() }

func (d served) VersionID() dataset.VersionID {
	if t := d.Load(); t != nil {
		return dataset.VersionID{byte(t.Version())}
	}
	return dataset.VersionID{}
}

// follower follows a dataset of a source.
type follower struct {
	served
	changed chan struct{}
	last    *table.Table
}

func (d served) Follow() feed.Follower {
	f := &follower{served: d, changed: make(chan struct{}, 1)}
	d.source.mu.Lock()
	defer d.source.mu.Unlock()
	d.source.followers[f] = true
	return f
}

// Since knows only the served version.
func (d served) Since(from dataset.Ref, to subscribe.Swap) (swap subscribe.Swap, ok bool) {
	to.Old = to.New
	return to, from == dataset.Ref{Version: to.Record.Version, ID: to.ID}
}

func (f *follower) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *follower) Changed() <-chan struct{} { return f.changed }

func (f *follower) Take() (swap subscribe.Swap, ok bool) {
	t := f.Table()
	if t == f.last {
		return subscribe.Swap{}, false
	}
	swap = subscribe.Swap{
		Dataset: f.name, Record: dataset.VersionRecord{Dataset: f.name, Version: t.Version()}, ID: dataset.VersionID{byte(t.Version())}, Old: f.last, New: t, Full: true,
	}
	f.last = t
	return swap, true
}

func (f *follower) Stop() {
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	delete(f.source.followers, f)
}

func (s *source) Dataset(name string) (server.Dataset, error) {
	p, ok := s.tables[name]
	if !ok {
		return nil, errors.New("no such dataset")
	}
	return served{p, s, name}, nil
}

// table returns what the test serves of the dataset; nil before the first version.
func (s *source) table(name string) *table.Table { return s.tables[name].Load() }

// started is the start of the test's instance.
var started = time.Now().Add(-time.Hour)

func (s *source) Status() fleet.Status {
	status := fleet.Status{Instance: "test", Started: started}
	for _, n := range s.names {
		d := fleet.DatasetStatus{Dataset: n, State: fleet.Waiting}
		if t := s.table(n); t != nil {
			d = fleet.DatasetStatus{Dataset: n, State: fleet.Fresh, Version: t.Version(), Records: t.Len(), Bytes: t.Bytes(), From: fleet.Relay}
		}
		if say := s.says[n]; say != nil {
			say(&d)
		}
		status.Datasets = append(status.Datasets, d)
	}
	return status
}

// serve makes a version of the records and serves it.
func (s *source) serve(t testing.TB, name string, version uint64, records map[string]string) {
	t.Helper()
	s.show(name, tableOf(t, version, records))
}

// show serves the version.
func (s *source) show(name string, version *table.Table) {
	s.tables[name].Store(version)
	close(*s.swapped.Swap(new(make(chan struct{}))))
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.followers {
		f.wake()
	}
}

// tableOf makes a version of the records. A test with fake time calls it outside of its bubble, because encoders of zstd are shared.
func tableOf(t testing.TB, version uint64, records map[string]string) *table.Table {
	t.Helper()
	const seed = 7
	var all []dataset.Record
	var raw int64
	for k, v := range records {
		r := dataset.Record{Key: []byte(k), Value: []byte(v)}
		all = append(all, r)
		raw += int64(r.EncodedBytes())
	}
	slices.SortFunc(all, func(a, b dataset.Record) int {
		ha, hb := dataset.Hash(seed, a.Key), dataset.Hash(seed, b.Key)
		switch {
		case ha < hb:
			return -1
		case ha > hb:
			return 1
		}
		return bytes.Compare(a.Key, b.Key)
	})
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: seed, RawBytes: raw})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := table.Load(t.Context(), r, table.Config{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}
