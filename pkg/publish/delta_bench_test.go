package publish_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/publish"
)

// revision is the text of version n of a dataset of as many records, NDJSON lines of about 130 bytes. Each version changes
// one record in a hundred.
func revision(records, n int) []byte {
	var b bytes.Buffer
	for i := range records {
		line(&b, i, (n+99-i%100)/100)
	}
	return b.Bytes()
}

func line(b *bytes.Buffer, i, rev int) {
	fmt.Fprintf(b, `{"key":"item-%09d","name":"Sant Julià %d","country":"AD","region":"Encamp","lat":42.%05d,"lng":1.%05d,"population":%d}`+"\n",
		i, i, (i+rev)*7919%99_991, i*6151%99_989, (i*31+rev*12_345)%1_000_003)
}

// BenchmarkPublishChanges is the publish of all of 1,000,000 records of which 1 % have changed.
func BenchmarkPublishChanges(b *testing.B) {
	const records = 1_000_000
	r := newRig(b, nil)
	publishRevision := func(n int) publish.Result {
		b.StopTimer()
		text := revision(records, n)
		b.StartTimer()
		result, err := r.Publish(b.Context(), "prices", publish.Input{Body: bytes.NewReader(text), Key: "key"})
		if err != nil {
			b.Fatal(err)
		}
		return result
	}
	publishRevision(0)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if rec := publishRevision(n).Record; rec.Changes.Changed != records/100 || rec.Snapshot.Version != 1 {
			b.Fatalf("%+v", rec)
		}
	}
}

// BenchmarkPatch is a patch of 100 records at random, to the commit. It should not matter how large the dataset is.
func BenchmarkPatch(b *testing.B) {
	for _, records := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint("of ", records), func(b *testing.B) {
			count := &counting{}
			r := newRig(b, func(_ *publish.Config, d *publish.Deps) {
				count.Store = d.Store
				d.Store = count
			})
			if _, err := r.Publish(b.Context(), "prices", publish.Input{Body: bytes.NewReader(revision(records, 0)), Key: "key"}); err != nil {
				b.Fatal(err)
			}
			count.bytes.Store(0)
			random := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				var text bytes.Buffer
				n++
				for i := range 100 {
					line(&text, i*(records/100)+random.IntN(records/100), 1000+n)
				}
				got, err := r.Patch(b.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: strings.NewReader(text.String()), Key: "key"}})
				if err != nil || got.Changes.Changed != 100 {
					b.Fatalf("%+v: %v", got, err)
				}
				if n%32 == 0 { // as a Compactor does it, and not counted
					b.StopTimer()
					if _, err := r.Compact(b.Context(), "prices"); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(count.bytes.Load())/float64(n), "read-B/op")
		})
	}
}

// BenchmarkUndo compares a rollback with a patch of the same changes, to the commit: of 1,000,000 records, by one version and by five, each
// of 100 changes and of 1 %.
func BenchmarkUndo(b *testing.B) {
	const records = 1_000_000
	for _, changes := range []int{100, records / 100} {
		for _, versions := range []int{1, 5} {
			b.Run(fmt.Sprintf("%d changes, %d versions", changes, versions), func(b *testing.B) {
				r := newRig(b, nil)
				newest := uint64(1)
				if _, err := r.Publish(b.Context(), "prices", publish.Input{Body: bytes.NewReader(revision(records, 0)), Key: "key"}); err != nil {
					b.Fatal(err)
				}
				apply := func(rev int) {
					var text bytes.Buffer
					for i := range changes {
						line(&text, i*(records/changes)+rev%(records/changes), rev)
					}
					got, err := r.Patch(b.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: &text, Key: "key"}})
					if err != nil || !got.Created {
						b.Fatalf("%+v: %v", got, err)
					}
					newest = got.Record.Version
				}
				var patched, rolled time.Duration
				rev := 1000
				n := 0
				for b.Loop() {
					n++
					for range versions {
						rev++
						began := time.Now()
						apply(rev)
						patched += time.Since(began)
					}
					began := time.Now()
					got, err := r.Rollback(b.Context(), publish.RollbackInput{Dataset: "prices", To: newest - uint64(versions), Reason: "a benchmark"})
					if rolled += time.Since(began); err != nil || !got.Created {
						b.Fatalf("%+v: %v", got, err)
					}
					newest = got.Record.Version
				}
				b.ReportMetric(float64(patched.Microseconds())/1000/float64(n), "ms-patches/op")
				b.ReportMetric(float64(rolled.Microseconds())/1000/float64(n), "ms-rollback/op")
			})
		}
	}
}
