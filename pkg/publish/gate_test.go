package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"github.com/google/go-cmp/cmp"
)

// gated returns a rig whose datasets have the given gates; a test may change them.
func gated(t *testing.T, gates *dataset.Gates) *rig {
	return newRig(t, func(c *publish.Config, _ *publish.Deps) {
		c.Settings = func(context.Context, string) (dataset.Settings, error) { return dataset.Settings{Gates: *gates}, nil }
	})
}

// first returns the input of the first n records of numbered.
func first(n int) publish.Input { return numbered(n).input() }

// shrinking returns in with permission to shrink.
func shrinking(in publish.Input) publish.Input {
	in.AllowShrink, in.Reason, in.By = true, "the catalogue is gone", "ann@db1"
	return in
}

// removing returns a patch that removes the records from one number to before another.
func removing(from, to int) publish.PatchInput {
	var lines []string
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf(`{"id":"%d","$remove":true}`, i))
	}
	return patch(lines...)
}

// stored returns the files in the store with their sizes and times.
func (r *rig) stored(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(strings.TrimPrefix(r.url, "dir://"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files[path] = fmt.Sprint(info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// objectBytes returns the bytes of all objects in the store.
func (r *rig) objectBytes(t *testing.T) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(strings.TrimPrefix(r.url, "dir://")+"/objects", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// gateError fails unless err is the GateError of exactly the gates, compared with version base, and has the texts.
func gateError(t *testing.T, err error, base uint64, gates []string, texts ...string) {
	t.Helper()
	var e *publish.GateError
	if !errors.As(err, &e) || !errors.Is(err, publish.ErrGate) || errors.Is(err, publish.ErrInput) {
		t.Fatalf("%v; want a GateError", err)
	}
	var got []string
	for _, r := range e.Refusals {
		got = append(got, r.Gate)
		texts = append(texts, r.Gate, r.Detail)
	}
	if !slices.Equal(got, gates) || e.Dataset != "prices" || e.Base.Version != base {
		t.Errorf("%+v; want the gates %q and version %d", e, gates, base)
	}
	for _, text := range append(texts, `"prices"`) {
		if !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the error lacks %q, or is not one line: %v", text, err)
		}
	}
}

const fewer = "max_fewer_records_percent"

// A publish and a patch that remove more than half of a dataset are refused, leave nothing in the store, and pass with a reason.
func TestDefaultGate(t *testing.T) {
	shrink := []string{"--allow-shrink and --reason", "AllowShrink and Reason", "allow_shrink=true and reason"}
	t.Run("publish", func(t *testing.T) {
		r := newRig(t, nil)
		numbered(200).publish(t, r)
		before := r.stored(t)
		_, err := r.Publish(t.Context(), "prices", first(99))
		gateError(t, err, 1, []string{fewer}, append(shrink, "99 records", "before 200", "50%")...)
		if diff := cmp.Diff(before, r.stored(t)); diff != "" {
			t.Errorf("the store has changed: %s", diff)
		}
		noTemp(t, r.temp)
		if got, err := r.Publish(t.Context(), "prices", first(100)); err != nil || !got.Created {
			t.Errorf("half of them: %+v, %v", got, err)
		}
		got, err := r.Publish(t.Context(), "prices", shrinking(first(1)))
		if rec := got.Record; err != nil || rec.Version != 3 || rec.Changes.Removed != 99 || rec.By != "ann@db1" || rec.Reason != "the catalogue is gone" {
			t.Errorf("with a reason: %+v, %v", got, err)
		}
		if got, err := r.Publish(t.Context(), "prices", publish.Input{Records: publish.Pairs(maps.All(map[string][]byte{"x": nil}))}); err != nil || got.Record.Reason != "" {
			t.Errorf("a small dataset: %+v, %v", got, err)
		}
	})
	t.Run("patch", func(t *testing.T) {
		r := newRig(t, nil)
		numbered(200).publish(t, r)
		before := r.stored(t)
		_, err := r.Patch(t.Context(), "prices", removing(0, 101))
		gateError(t, err, 1, []string{fewer}, shrink...)
		if diff := cmp.Diff(before, r.stored(t)); diff != "" {
			t.Errorf("the store has changed: %s", diff)
		}
		noTemp(t, r.temp)
		in := removing(0, 101)
		in.Input = shrinking(in.Input)
		if got, err := r.Patch(t.Context(), "prices", in); err != nil || got.Changes.Removed != 101 || got.Record.Reason == "" || got.Record.By == "" {
			t.Errorf("with a reason: %+v, %v", got, err)
		}
	})
}

func TestReasonsAreChecked(t *testing.T) {
	r := newRig(t, nil)
	for want, change := range map[string]func(*publish.Input){
		"say why with --reason":            func(in *publish.Input) { in.AllowShrink = true },
		"reason has 1025 bytes":            func(in *publish.Input) { in.Reason = strings.Repeat("x", dataset.MaxReasonBytes+1) },
		"by has 257 bytes":                 func(in *publish.Input) { in.By = strings.Repeat("x", dataset.MaxByBytes+1) },
		"write it as one line of text":     func(in *publish.Input) { in.Reason = "two\nlines" },
		`by "\xff" is not UTF-8`:           func(in *publish.Input) { in.By = "\xff" },
		"reason \"a\\x00b\" has a control": func(in *publish.Input) { in.Reason = "a\x00b" },
	} {
		in := first(2)
		change(&in)
		_, err := r.Publish(t.Context(), "prices", in)
		_, patched := r.Patch(t.Context(), "prices", publish.PatchInput{Input: in})
		for _, err := range []error{err, patched} {
			if !errors.Is(err, publish.ErrInput) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want an InputError with %q", err, want)
			}
		}
	}
	longest := first(2)
	longest.Reason, longest.By = strings.Repeat("x", dataset.MaxReasonBytes), strings.Repeat("x", dataset.MaxByBytes)
	got, err := r.Publish(t.Context(), "prices", longest)
	if err != nil || got.Record.Reason != longest.Reason || got.Record.By != longest.By {
		t.Errorf("the longest: %+v, %v", got, err)
	}
}

// Config.Settings decides: AllowShrink passes only those about shrinking, and a refused input passes once the gates are changed.
func TestGatesOfADataset(t *testing.T) {
	percent := func(p int) *int { return &p }
	gates := dataset.Gates{}
	r := gated(t, &gates)
	m := numbered(200)
	m.publish(t, r)
	gates = dataset.Gates{MinRecords: 150, MaxFewerRecords: percent(10), MaxChangedRecords: percent(1)}
	for i := range 100 {
		m.set(i, -i-1)
	}
	for i := 100; i < 200; i++ {
		delete(m, fmt.Sprint(i))
	}
	_, err := r.Publish(t.Context(), "prices", m.input())
	gateError(t, err, 1, []string{"min_records", fewer, "max_changed_records_percent"}, "--allow-shrink", "correct the input, or change the gate with freshet settings")
	_, err = r.Publish(t.Context(), "prices", shrinking(m.input()))
	gateError(t, err, 1, []string{"max_changed_records_percent"}, "correct the input, or change the gate with freshet settings")
	if strings.Contains(err.Error(), "--allow-shrink") {
		t.Errorf("it advises what does not help: %v", err)
	}
	gates.MaxChangedRecords = percent(50)
	if got, err := r.Publish(t.Context(), "prices", shrinking(m.input())); err != nil || got.Record.Version != 2 {
		t.Errorf("after the change of the gates: %+v, %v", got, err)
	}
	// A correct input.
	gates = dataset.Gates{MaxMoreRecords: percent(10)}
	_, err = r.Patch(t.Context(), "prices", patch(slices.Collect(maps.Values(numbered(200)))...))
	gateError(t, err, 2, []string{"max_more_records_percent"}, "correct the input")
	if got, err := r.Patch(t.Context(), "prices", patch(`{"id":"one"}`)); err != nil || !got.Created {
		t.Errorf("a smaller patch: %+v, %v", got, err)
	}
	// The first version.
	gates = dataset.Gates{MinRecords: 3}
	if _, err = r.Publish(t.Context(), "rules", input(`{"id":"a"}`)); !errors.Is(err, publish.ErrGate) || !strings.Contains(err.Error(), "the first version") {
		t.Errorf("the first version: %v", err)
	}
}

// A publish whose gates cannot be read fails.
func TestGatesThatCannotBeRead(t *testing.T) {
	broken := errors.New("broken")
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) {
		c.Settings = func(_ context.Context, name string) (dataset.Settings, error) {
			return dataset.Settings{}, fmt.Errorf("%s: %w", name, broken)
		}
	})
	if _, err := r.Publish(t.Context(), "prices", first(1)); !errors.Is(err, broken) || !strings.Contains(err.Error(), `the settings of dataset "prices"`) {
		t.Errorf("error is %v", err)
	}
	r.nothingCommitted(t)
}

func (r *rig) nothingCommitted(t *testing.T) {
	t.Helper()
	if rec, err := r.store.Latest(t.Context(), "prices"); err == nil {
		t.Errorf("version %s was committed", rec.ID())
	}
	noTemp(t, r.temp)
}

// Equal content never meets a gate: not when nothing is to be done, when it heals the newest version, when it renews a promise, and when an
// earlier call with the same request id made the version.
func TestEqualContentMeetsNoGate(t *testing.T) {
	gates := dataset.Gates{}
	r := gated(t, &gates)
	m := numbered(200)
	made, err := r.Publish(t.Context(), "prices", asked(m.input(), "req-1"))
	if err != nil {
		t.Fatal(err)
	}
	gates = dataset.Gates{MaxRecords: 1}
	if got, err := r.Publish(t.Context(), "prices", m.input()); err != nil || got.Created {
		t.Errorf("unchanged: %+v, %v", got, err)
	}
	if got, err := r.Publish(t.Context(), "prices", asked(m.input(), "req-1")); err != nil || !got.Repeated {
		t.Errorf("repeated: %+v, %v", got, err)
	}
	every := 24 * time.Hour
	in := m.input()
	in.ExpectEvery = &every
	renewed, err := r.Publish(t.Context(), "prices", in)
	if err != nil || renewed.Record.Version != 2 {
		t.Errorf("renewed: %+v, %v", renewed, err)
	}
	if err := os.Remove(r.objectPath(made.Record.Snapshot)); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Publish(t.Context(), "prices", m.input()); err != nil || got.Created || len(got.Warnings) != 1 {
		t.Errorf("the snapshot is put back: %+v, %v", got, err)
	}
	if err := os.Remove(r.objectPath(renewed.Record.Deltas[0])); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Publish(t.Context(), "prices", m.input()); err != nil || !got.Created || len(got.Warnings) != 1 {
		t.Errorf("another version stands in: %+v, %v", got, err)
	}
	_, err = r.Publish(t.Context(), "prices", first(201))
	gateError(t, err, 3, []string{"max_records"})
}

// A round of the race judges against the version that it compares with. Another publisher changes the verdict either way.
func TestVerdictChangesInARace(t *testing.T) {
	t.Run("passes, then is refused", func(t *testing.T) {
		r, f := newFaulty(t)
		numbered(100).publish(t, r)
		other := r.sibling(t)
		f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
			f.putVersion = nil
			if _, err := other.Publish(ctx, "prices", first(150)); err != nil {
				t.Error(err)
			}
			return f.Store.PutVersion(ctx, rec)
		}
		_, err := r.Publish(t.Context(), "prices", first(60))
		gateError(t, err, 2, []string{fewer}, "before 150")
	})
	for what, do := range map[string]func(context.Context, *rig) error{
		"publish": func(ctx context.Context, r *rig) error { _, err := r.Publish(ctx, "prices", first(60)); return err },
		"patch": func(ctx context.Context, r *rig) error {
			_, err := r.Patch(ctx, "prices", removing(60, 300))
			return err
		},
	} {
		t.Run(what+" is refused, then passes", func(t *testing.T) {
			var r *rig
			var other *publish.Publisher
			judged := 0
			r = newRig(t, func(c *publish.Config, _ *publish.Deps) {
				c.Settings = func(ctx context.Context, name string) (dataset.Settings, error) {
					if judged++; judged == 2 { // after the comparison with 200 records
						if _, err := other.Publish(ctx, name, shrinking(first(100))); err != nil {
							t.Error(err)
						}
					}
					return dataset.Settings{}, nil
				}
			})
			other = r.sibling(t)
			numbered(200).publish(t, r)
			if err := do(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if newest := must(r.store.Latest(t.Context(), "prices")); newest.Version != 3 || newest.State.Records != 60 || newest.Changes.Removed != 40 || judged != 3 {
				t.Errorf("after %d verdicts: %+v", judged, newest)
			}
			noTemp(t, r.temp)
		})
	}
}
