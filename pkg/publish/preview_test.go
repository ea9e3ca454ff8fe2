package publish_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"github.com/google/go-cmp/cmp"
)

// dry returns in as a dry run.
func dry(in publish.Input) publish.Input {
	in.DryRun = true
	return in
}

// untouched calls do, which must change nothing in the store and leave no temporary file.
func (r *rig) untouched(t *testing.T, do func()) {
	t.Helper()
	before := r.stored(t)
	do()
	if diff := cmp.Diff(before, r.stored(t)); diff != "" {
		t.Errorf("the store has changed: %s", diff)
	}
	noTemp(t, r.temp)
}

// A dry run says what a publish then does, and writes nothing to the store, not even the id of a new one.
func TestDryRunOfAPublish(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(300)
	previewed := func(in publish.Input) publish.Result {
		t.Helper()
		var got publish.Result
		r.untouched(t, func() {
			var err error
			if got, err = r.Publish(t.Context(), "prices", dry(in)); err != nil || got.Preview == nil || got.Created || got.Announced {
				t.Fatalf("%+v, %v", got, err)
			}
		})
		return got
	}
	agree := func(seen *publish.Preview, before dataset.VersionRecord, rec dataset.VersionRecord) {
		t.Helper()
		want := publish.Preview{
			Creates: true, Changes: rec.Changes, PullBytes: rec.PullBytes(),
			Before: publish.Size{Records: before.State.Records, PayloadBytes: before.PayloadBytes},
			After:  publish.Size{Records: rec.State.Records, PayloadBytes: rec.PayloadBytes},
		}
		if before.Version > 0 {
			want.Base = before.Ref()
		}
		if diff := cmp.Diff(want, *seen); diff != "" {
			t.Errorf("version %d: %s", rec.Version, diff)
		}
	}
	seen := previewed(m.input())
	if seen.Record.Version != 0 {
		t.Errorf("the newest version is %s", seen.Record.ID())
	}
	one := m.publish(t, r)
	if seen.Preview.PullBytes < one.PullBytes()*9/10 || seen.Preview.PullBytes > one.PullBytes()*11/10 { // another seed
		t.Errorf("%d bytes, and the version has %d", seen.Preview.PullBytes, one.PullBytes())
	}
	seen.Preview.PullBytes = one.PullBytes()
	agree(seen.Preview, dataset.VersionRecord{}, one)

	if got := previewed(m.input()); got.Preview.Creates || got.Preview.Changes.Total() != 0 || got.Record.Ref() != one.Ref() || got.Preview.Err("prices") != nil {
		t.Errorf("equal content: %+v", got.Preview)
	}
	for i := range 20 {
		m.set(i, -i-1)
		delete(m, fmt.Sprint(100+i))
		m.set(1000+i, i)
	}
	seen = previewed(m.input())
	two := m.publish(t, r)
	agree(seen.Preview, one, two)

	if err := os.Remove(r.objectPath(one.Snapshot)); err != nil {
		t.Fatal(err)
	}
	if got := previewed(m.input()); got.Preview.Changes.Total() != 0 {
		t.Errorf("equal content of a version that has lost its snapshot: %+v", got.Preview)
	}
	if got, err := r.Publish(t.Context(), "prices", m.input()); err != nil || len(got.Warnings) == 0 {
		t.Errorf("the loss is found in earnest: %+v, %v", got, err)
	}
}

// A dry run names the gates, whether they refuse the version or a reason passes them. It is no error.
func TestDryRunNamesGates(t *testing.T) {
	most := 10
	gates := dataset.Gates{}
	r := gated(t, &gates)
	numbered(200).publish(t, r)
	gates = dataset.Gates{MaxRecords: 100, MaxFewerRecords: &most}
	r.untouched(t, func() {
		got, err := r.Publish(t.Context(), "prices", dry(first(101)))
		if err != nil || len(got.Preview.Refused) != 2 || len(got.Preview.Allowed) != 0 || !got.Preview.Creates {
			t.Fatalf("%+v, %v", got.Preview, err)
		}
		gateError(t, got.Preview.Err("prices"), 1, []string{"max_records", fewer}, "101 records")
		got, err = r.Publish(t.Context(), "prices", shrinking(dry(first(101))))
		if err != nil || len(got.Preview.Refused) != 1 || len(got.Preview.Allowed) != 1 || got.Preview.Allowed[0].Gate != fewer {
			t.Fatalf("with a reason: %+v, %v", got.Preview, err)
		}
	})
}

func TestDryRunOfAPatch(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(300)
	one := m.publish(t, r)
	lines := []string{`{"id":"1","v":1}`, `{"id":"2","$remove":true}`, `{"id":"new"}`, m["3"], `{"id":"none","$remove":true}`}
	in := patch(lines...)
	in.DryRun = true
	var seen publish.PatchResult
	r.untouched(t, func() { seen = must(r.Patch(t.Context(), "prices", in)) })
	got := must(r.Patch(t.Context(), "prices", patch(lines...)))
	if seen.Changes != got.Changes || seen.Unchanged != 1 || seen.Missing != 1 || seen.Created || seen.Preview.Changes != got.Record.Changes ||
		seen.Preview.PullBytes != got.Record.PullBytes() || seen.Preview.Base != one.Ref() || seen.Preview.After.PayloadBytes != got.Record.PayloadBytes {
		t.Errorf("it says %+v, %+v; the patch made %+v", seen, seen.Preview, got)
	}
	in = patch(m["5"])
	in.DryRun = true
	if seen := must(r.Patch(t.Context(), "prices", in)); seen.Preview.Creates || seen.Unchanged != 1 {
		t.Errorf("without changes: %+v", seen.Preview)
	}
	in = patch(m["5"])
	in.DryRun, in.Base = true, 1
	if _, err := r.Patch(t.Context(), "prices", in); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("for an old version: %v", err)
	}
	in = removing(0, 200)
	in.DryRun = true
	if seen := must(r.Patch(t.Context(), "prices", in)); len(seen.Preview.Refused) != 1 {
		t.Errorf("of most records: %+v", seen.Preview)
	}
	noTemp(t, r.temp)
}

// A dry run refuses what a publish refuses, and finds the version of a repeated request.
func TestDryRunOfABadInput(t *testing.T) {
	r := newRig(t, nil)
	for _, text := range []string{"{", `{"id":"a"}` + "\n" + `{"id":"a"}`, ""} {
		r.untouched(t, func() {
			_, err := r.Publish(t.Context(), "prices", dry(publish.Input{Body: strings.NewReader(text), Key: "id"}))
			if !errors.Is(err, publish.ErrInput) {
				t.Errorf("%q: %v", text, err)
			}
		})
	}
	made := must(r.Publish(t.Context(), "prices", asked(first(3), "req-1")))
	r.text(t, "prices", `{"id":"other"}`)
	r.untouched(t, func() {
		got := must(r.Publish(t.Context(), "prices", dry(asked(first(3), "req-1"))))
		if !got.Repeated || got.Preview.Creates {
			t.Errorf("repeated: %+v", got)
		}
		if _, err := r.Publish(t.Context(), "prices", dry(asked(first(4), "req-1"))); !errors.Is(err, publish.ErrRequestID) {
			t.Errorf("another request with the id of version %s: %v", made.Record.ID(), err)
		}
	})
}

// A patch of the longest chain compacts the dataset first. Its dry run does not.
func TestDryRunDoesNotCompact(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(300)
	lengthen(t, r, swung(t, r, m), 260)
	in := patch(`{"id":"1","v":1}`)
	in.DryRun = true
	r.untouched(t, func() {
		if seen := must(r.Patch(t.Context(), "prices", in)); !seen.Preview.Creates {
			t.Errorf("%+v", seen.Preview)
		}
		if seen, err := r.Rollback(t.Context(), publish.RollbackInput{Dataset: "prices", To: 259, Reason: "a test", DryRun: true}); err != nil || !seen.Preview.Creates {
			t.Errorf("%+v, %v", seen.Preview, err)
		}
	})
	if got := must(r.Patch(t.Context(), "prices", patch(`{"id":"1","v":1}`))); got.Record.Snapshot.Version != 260 {
		t.Errorf("the patch names the snapshot of version %d", got.Record.Snapshot.Version)
	}
}
