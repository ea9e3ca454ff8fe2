package load

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/roots"
)

// benchRecords is the number of records of the benchmark's dataset.
const benchRecords = 1_000_000

// refresher loads versions of a dataset as an instance with a cache folder does.
type refresher struct {
	b       *testing.B
	loader  *Loader
	objects map[string][]byte
	served  *served
	records map[int]int // generations of the records that have one
	swapped time.Duration
	finish  time.Duration
}

func benchKey(i int) string { return fmt.Sprintf("key-%08d", i) }

func benchRecord(i, generation int) dataset.Record {
	return dataset.Record{Key: []byte(benchKey(i)), Value: fmt.Appendf(nil, "%090d %d", i*7919, generation)}
}

func newRefresher(b *testing.B, percent int) *refresher {
	b.Helper()
	r := &refresher{b: b, objects: make(map[string][]byte), records: make(map[int]int)}
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Write(r.objects[strings.TrimPrefix(q.URL.Path, "/v1/objects/")])
	}))
	b.Cleanup(relay.Close)
	client, err := pull.New(pull.Config{Relays: []string{relay.URL}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	d := cachedir.New(b.TempDir())
	b.Cleanup(func() { d.Close() })
	r.loader = &Loader{
		Pull: client, Cache: d, Guard: bootguard.New(d, []string{"prices"}, time.Hour, "boot"), Collector: NewCollector(), Roots: roots.New(percent),
	}
	all := make([]dataset.Record, benchRecords)
	for i := range all {
		all[i] = benchRecord(i, 0)
	}
	first, object := r.write(all, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: 1, RawBytes: benchRecords * 118}, (*snapshot.Writer).Close)
	object.Version = 1
	r.refresh(dataset.VersionRecord{
		Dataset: "prices", Version: 1, Seed: 1, State: first.State, Created: time.Unix(1, 0), Snapshot: object,
	})
	return r
}

// write writes an object of the records, which it sorts.
func (r *refresher) write(all []dataset.Record, cfg snapshot.WriterConfig, end func(*snapshot.Writer) (snapshot.Totals, error)) (snapshot.Totals, dataset.Object) {
	r.b.Helper()
	slices.SortFunc(all, func(a, b dataset.Record) int { return cmp.Compare(dataset.Hash(1, a.Key), dataset.Hash(1, b.Key)) })
	var out bytes.Buffer
	w, err := snapshot.NewWriter(&out, cfg)
	for i := 0; err == nil && i < len(all); i++ {
		err = w.Add(all[i])
	}
	if err != nil {
		r.b.Fatal(err)
	}
	totals, err := end(w)
	if err != nil {
		r.b.Fatal(err)
	}
	r.objects[totals.Digest.String()] = out.Bytes()
	return totals, dataset.Object{Digest: totals.Digest, Bytes: totals.FileBytes}
}

// next returns the record of the version after the served one.
func (r *refresher) next() dataset.VersionRecord {
	rec := r.served.Record
	rec.Version++
	rec.Deltas, rec.Restores = slices.Clone(rec.Deltas), dataset.Ref{}
	return rec
}

// delta returns the next version, with so many changes.
func (r *refresher) delta(changes, generation int) dataset.VersionRecord {
	rec := r.next()
	var all []dataset.Record
	for n := range changes {
		i := (n*7919 + generation*104729) % benchRecords
		is, was := benchRecord(i, int(rec.Version)), benchRecord(i, r.records[i])
		r.records[i] = int(rec.Version)
		rec.State.Remove(1, dataset.AppendRecord(nil, was))
		rec.State.Add(1, dataset.AppendRecord(nil, is))
		all = append(all, is)
	}
	_, object := r.write(all, snapshot.WriterConfig{Kind: snapshot.Delta, Seed: 1, Base: r.served.Record.State},
		func(w *snapshot.Writer) (snapshot.Totals, error) { return w.CloseDelta(rec.State) })
	object.Version, object.From = rec.Version, r.served.Record.VersionID()
	rec.Deltas = append(rec.Deltas, object)
	return rec
}

// refresh serves rec, and returns what was pulled and how long the load took, which is the time before the swap.
func (r *refresher) refresh(rec dataset.VersionRecord) (pulled int64, took time.Duration) {
	r.b.Helper()
	began := time.Now()
	v, err := r.loader.Load(r.b.Context(), rec, r.served, nothing)
	took = time.Since(began)
	if err != nil {
		r.b.Fatal(err)
	}
	began = time.Now()
	v.Swapped()
	r.swapped = time.Since(began)
	began = time.Now()
	if err := v.Finish(true); err != nil {
		r.b.Fatal(err)
	}
	r.finish = time.Since(began)
	r.served = &served{Record: rec, ID: rec.VersionID(), Value: v.Value}
	return v.Pull.Bytes, took
}

// BenchmarkRollback compares the time before the swap of a rollback to a kept version with that of a delta of one record before it. It also
// reports the medians of both, of the times after the swap of the rollback, and what a kept version takes of the table, on average of the
// small one and those that are rolled back.
func BenchmarkRollback(b *testing.B) {
	for _, c := range []struct{ changes, by, percent int }{{100, 1, 15}, {100, 5, 15}, {benchRecords / 100, 1, 15}, {benchRecords / 100, 5, 60}} {
		b.Run(fmt.Sprintf("changes=%d/by=%d", c.changes, c.by), func(b *testing.B) {
			r := newRefresher(b, c.percent)
			var small, rollback, swapped, finish []time.Duration
			generation, kept := 0, 0.0
			for b.Loop() {
				b.StopTimer()
				generation++
				_, took := r.refresh(r.delta(1, generation))
				small = append(small, took)
				to, records := r.served.Record, maps.Clone(r.records)
				for range c.by {
					generation++
					r.refresh(r.delta(c.changes, generation))
				}
				versions, bytes := r.loader.Roots.Kept("prices")
				if kept == 0 { // later the earliest are dropped
					kept = 100 * float64(bytes) / float64(versions) / float64(r.served.Value.Bytes())
				}
				rec := r.next()
				rec.State, rec.Restores = to.State, to.Ref()
				rec.Deltas = append(rec.Deltas, dataset.Object{
					Version: rec.Version, From: r.served.ID, Bytes: 1000, Digest: dataset.Digest{1}, // never pulled
				})
				b.StartTimer()
				pulled, took := r.refresh(rec)
				b.StopTimer()
				if pulled != 0 {
					b.Fatalf("pulled %d bytes; %d kept versions had %d bytes of %d", pulled, versions, bytes, r.served.Value.Bytes())
				}
				r.records = records
				rollback, swapped, finish = append(rollback, took), append(swapped, r.swapped), append(finish, r.finish)
				b.StartTimer()
			}
			median := func(all []time.Duration) float64 { slices.Sort(all); return float64(all[len(all)/2].Microseconds()) }
			b.ReportMetric(median(small), "delta-µs")
			b.ReportMetric(median(rollback), "rollback-µs")
			b.ReportMetric(median(swapped), "swapped-µs")
			b.ReportMetric(median(finish), "finish-µs")
			b.ReportMetric(kept, "kept-%")
		})
	}
}
