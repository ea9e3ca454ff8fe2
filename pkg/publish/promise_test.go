package publish_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
	tables "freshet.dev/pkg/table"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func every(d time.Duration) *time.Duration { return &d }

// age makes the newest version of prices that much older.
func (r *rig) age(t testing.TB, by time.Duration) {
	t.Helper()
	rec, err := r.store.Latest(t.Context(), "prices")
	if by == 0 || err != nil {
		return
	}
	rec.Created = rec.Created.Add(-by)
	b, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r.overwriteRecord(t, "prices", rec.Version, b)
}

// promised publishes the lines with a promise.
func (r *rig) promised(t testing.TB, promise *time.Duration, lines ...string) publish.Result {
	t.Helper()
	in := input(lines...)
	in.ExpectEvery = promise
	got, err := r.Publish(t.Context(), "prices", in)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Equal content makes a version when the promise is another, and when a third of its time has passed.
func TestEqualContentRenewsAPromise(t *testing.T) {
	r := newRig(t, nil)
	lines := []string{`{"id":"a"}`, `{"id":"b","v":1}`}
	const day = 24 * time.Hour
	version := uint64(0)
	for i, step := range []struct {
		after   time.Duration
		promise *time.Duration
		created bool
		want    time.Duration
	}{
		{0, nil, true, 0},
		{1000 * day, nil, false, 0}, // nobody promised anything
		{0, every(0), false, 0},
		{0, every(day), true, day}, // another promise
		{0, every(day), false, day},
		{8*time.Hour - time.Minute, nil, false, day},
		{2 * time.Minute, nil, true, day}, // a third of it has passed
		{time.Second, nil, false, day},
		{13 * time.Hour, every(day), true, day},
		{time.Hour, every(time.Hour), true, time.Hour},
		{40 * time.Minute, nil, true, time.Hour},
		{time.Minute, every(0), true, 0}, // it ends
		{1000 * day, nil, false, 0},
		{0, every(day), true, day},
	} {
		r.age(t, step.after)
		got := r.promised(t, step.promise, lines...)
		if step.created {
			version++
		}
		if got.Created != step.created || got.Record.Version != version || got.Record.ExpectEvery != step.want || len(got.Warnings) > 0 {
			t.Errorf("step %d: created %v version %d, promise %v, %q", i+1, got.Created, got.Record.Version, got.Record.ExpectEvery, got.Warnings)
		}
		if version > 1 && got.Record.Changes != (dataset.Changes{}) {
			t.Errorf("step %d: %+v", i+1, got.Record.Changes)
		}
		content(t, r.store, got.Record)
		noTemp(t, r.temp)
	}
	// Content that is another keeps the promise too.
	if got := r.promised(t, nil, `{"id":"a"}`); !got.Created || got.Record.ExpectEvery != day || got.Record.Changes.Removed != 1 {
		t.Errorf("%+v", got)
	}
}

// A patch that changes nothing does the same.
func TestPatchRenewsAPromise(t *testing.T) {
	r := newRig(t, nil)
	r.promised(t, nil, `{"id":"a"}`, `{"id":"b"}`)
	step := func(promise *time.Duration, line string, created bool, version uint64, want time.Duration) {
		t.Helper()
		in := patch(line)
		in.ExpectEvery = promise
		got, err := r.Patch(t.Context(), "prices", in)
		if err != nil {
			t.Fatal(err)
		}
		if got.Created != created || got.Record.Version != version || got.Record.ExpectEvery != want {
			t.Errorf("created %v version %d, promise %v", got.Created, got.Record.Version, got.Record.ExpectEvery)
		}
		content(t, r.store, got.Record)
	}
	step(nil, `{"id":"a"}`, false, 1, 0)
	step(every(time.Hour), `{"id":"a"}`, true, 2, time.Hour)
	step(every(time.Hour), `{"id":"a"}`, false, 2, time.Hour)
	r.age(t, 31*time.Minute)
	step(nil, `{"id":"x","$remove":true}`, true, 3, time.Hour)
	step(nil, `{"id":"a","v":1}`, true, 4, time.Hour)
	step(every(0), `{"id":"a","v":1}`, true, 5, 0)
}

// A version from a clock that was ahead does not hide for as long that the pipeline has stopped.
func TestRenewsAVersionFromTheFuture(t *testing.T) {
	r := newRig(t, nil)
	first := r.promised(t, every(time.Hour), `{"id":"a"}`).Record
	ahead := first
	ahead.Version, ahead.Created = 2, first.Created.Add(24*time.Hour)
	ahead = fullRecord(ahead)
	if err := r.store.PutVersion(t.Context(), ahead); err != nil {
		t.Fatal(err)
	}
	if got := r.promised(t, nil, `{"id":"a"}`); !got.Created || got.Record.Version != 3 || got.Record.Created.After(ahead.Created) {
		t.Errorf("%+v", got)
	}
}

// The chain of a dataset that is only ever confirmed is as any other: bounded, and the same empty delta again and again.
func TestChainOfRenewals(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MaxDeltas = 5 })
	m := numbered(500)
	m.publish(t, r)
	var empty dataset.Digest
	for i := range 30 {
		in := m.input()
		in.ExpectEvery = every(time.Duration(i+1) * time.Hour)
		got, err := r.Publish(t.Context(), "prices", in)
		if err != nil {
			t.Fatal(err)
		}
		rec := got.Record
		if rec.Version != uint64(i+2) || len(rec.Deltas) == 0 || rec.Version-rec.Snapshot.Version > 5 {
			t.Fatalf("%+v", rec)
		}
		last := rec.Deltas[len(rec.Deltas)-1]
		if i == 0 {
			empty = last.Digest
		}
		if last.Digest != empty || last.Bytes > 300 {
			t.Errorf("the delta to version %d is %+v", rec.Version, last)
		}
		if diff := cmp.Diff(map[string]string(m), content(t, r.store, rec)); diff != "" {
			t.Error(diff)
		}
		check(t, r, rec)
	}
}

// check loads a version as an instance does, by each way that there is.
func check(t testing.TB, r *rig, rec dataset.VersionRecord) {
	t.Helper()
	read := func(o dataset.Object) *snapshot.Reader {
		t.Helper()
		b := must(io.ReadAll(must(r.store.OpenObject(t.Context(), o.Digest, 0, -1))))
		reader, err := snapshot.NewReader(bytes.NewReader(b), snapshot.Expect(o))
		if err != nil {
			t.Fatal(err)
		}
		return reader
	}
	tab, err := tables.Load(t.Context(), read(rec.Snapshot), tables.Config{Version: rec.Snapshot.Version})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range rec.Deltas {
		if o.Version <= rec.Snapshot.Version {
			continue
		}
		next, changes, err := tables.Apply(t.Context(), tab, read(o), tables.Config{Version: o.Version})
		if err != nil {
			t.Fatal(err)
		}
		for c := range changes.All() {
			t.Errorf("%+v is a change", c)
		}
		tab = next
	}
	if tab.State() != rec.State || tab.Version() != rec.Version {
		t.Errorf("version %d has the state %v, want %v of %d", tab.Version(), tab.State(), rec.State, rec.Version)
	}
}

func TestPromiseIsRefused(t *testing.T) {
	r := newRig(t, nil)
	for _, d := range []time.Duration{-time.Hour, 1, time.Second - 1, dataset.MaxExpectEvery + 1} {
		in := input(`{"id":"a"}`)
		in.ExpectEvery = &d
		_, err := r.Publish(t.Context(), "prices", in)
		refused, ok := errors.AsType[*publish.InputError](err)
		if !ok || refused.Hint == "" {
			t.Errorf("%v: error is %v", d, err)
		}
		if _, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: in}); !errors.Is(err, publish.ErrInput) {
			t.Errorf("%v: error is %v", d, err)
		}
	}
}

// Whatever is published, patched and promised, through whichever of two publishers: version numbers are 1, 2, 3 ... without
// one left out or used twice, each result names what the store has, and a repair then makes the log agree.
func TestNumbersAreNeitherLostNorReused(t *testing.T) {
	w := newWorld(t)
	versions := map[string]uint64{}
	rapid.Check(t, func(rt *rapid.T) {
		name := fmt.Sprint("d", len(versions))
		publishers := []*publish.Publisher{w.dead.Publisher, w.alive}
		next, promise := uint64(1), time.Duration(0)
		now := "" // the content
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			p := rapid.SampledFrom(publishers).Draw(rt, "publisher")
			value := rapid.SampledFrom([]string{`{"id":"a","v":1}`, `{"id":"a","v":2}`}).Draw(rt, "value")
			in := input(value)
			if rapid.Bool().Draw(rt, "promises") {
				in.ExpectEvery = every(rapid.SampledFrom([]time.Duration{0, time.Hour, 2 * time.Hour}).Draw(rt, "promise"))
			}
			was := promise
			if in.ExpectEvery != nil {
				promise = *in.ExpectEvery
			}
			created := value != now || promise != was
			now = value
			var got publish.Result
			var err error
			if next > 1 && rapid.Bool().Draw(rt, "patches") {
				var patched publish.PatchResult
				patched, err = p.Patch(t.Context(), name, publish.PatchInput{Input: in})
				got = patched.Result
			} else {
				got, err = p.Publish(t.Context(), name, in)
			}
			if err != nil {
				rt.Fatal(err)
			}
			if created {
				next++
			}
			if got.Created != created || got.Record.Version != next-1 || got.Record.ExpectEvery != promise {
				rt.Fatalf("created %v, version %d, promise %v; want %v, %d, %v", got.Created, got.Record.Version, got.Record.ExpectEvery, created, next-1, promise)
			}
		}
		versions[name] = next - 1
	})
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, version := range versions {
		w.whole(t, name, version)
	}
}

// An hourly pipeline that promises two hours makes a version with each run, also with one that comes a minute early.
func TestRunsAtHalfThePromiseRenewIt(t *testing.T) {
	r := newRig(t, nil)
	for i := range 4 {
		if got := r.promised(t, every(2*time.Hour), `{"id":"a"}`); !got.Created {
			t.Errorf("run %d makes no version", i+1)
		}
		r.age(t, 59*time.Minute)
	}
}

// Labels that no version keeps are not dropped without a word, by a publish or by a patch.
func TestLabelsOfUnchangedContent(t *testing.T) {
	r := newRig(t, nil)
	in := func(labels map[string]string) publish.Input {
		return publish.Input{Body: strings.NewReader(`{"id":"a"}`), Key: "id", Labels: labels}
	}
	for i, step := range []struct {
		labels map[string]string
		warns  bool
	}{
		{map[string]string{"run": "1"}, false},
		{map[string]string{"run": "1"}, false},
		{nil, false},
		{map[string]string{"run": "2", "by": "me"}, true},
	} {
		result, err := r.Publish(t.Context(), "prices", in(step.labels))
		if err != nil {
			t.Fatal(err)
		}
		patched, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: in(step.labels)})
		if err != nil {
			t.Fatal(err)
		}
		for _, warnings := range [][]string{result.Warnings, patched.Warnings} {
			if warned := len(warnings) == 1 && strings.Contains(warnings[0], "the labels by, run are not kept"); warned != step.warns || len(warnings) > 1 {
				t.Errorf("step %d: %q", i+1, warnings)
			}
		}
	}
}
