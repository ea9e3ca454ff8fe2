package publish_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// patch returns lines as a patch with the key in member id.
func patch(lines ...string) publish.PatchInput { return publish.PatchInput{Input: input(lines...)} }

func TestPatch(t *testing.T) {
	r := newRig(t, nil)
	r.text(t, "prices", `{"id":"a"}`+"\n"+`{"id":"b"}`+"\n"+`{"id":"c"}`)
	for i, c := range []struct {
		in                 publish.PatchInput
		version            uint64
		changes            dataset.Changes
		unchanged, missing uint64
		want               map[string]string
	}{
		{
			patch(`{"id":"b","v":1}`, `{"id":"a"}`, `{"id":"d"}`, `{"id":"c","$remove":true}`, `{"id":"x","$remove":true,"why":[1]}`),
			2,
			dataset.Changes{Added: 1, Changed: 1, Removed: 1},
			1, 1,
			map[string]string{"a": `{"id":"a"}`, "b": `{"id":"b","v":1}`, "d": `{"id":"d"}`},
		},
		{ // nothing changes
			patch(`{"id":"a"}`, `{"id":"c","$remove":true}`),
			2,
			dataset.Changes{},
			1, 1,
			map[string]string{"a": `{"id":"a"}`, "b": `{"id":"b","v":1}`, "d": `{"id":"d"}`},
		},
		{
			publish.PatchInput{Input: publish.Input{
				Body: strings.NewReader("gone,id,v\n,c,1\ntrue,a,\n1,d,x\nfalse,e,2\n0,f,3\n"), Format: publish.FormatCSV, Key: "id",
			}, Remove: "gone", Base: 2},
			3,
			dataset.Changes{Added: 3, Removed: 2},
			0, 0,
			map[string]string{"b": `{"id":"b","v":1}`, "c": `{"id":"c","v":"1"}`, "e": `{"id":"e","v":"2"}`, "f": `{"id":"f","v":"3"}`},
		},
		{ // the whole dataset again, by its chain
			publish.PatchInput{Input: publish.Input{Body: strings.NewReader(`[{"id":"e","\u0024remove":true},{"id":"c"}]`), Key: "id"}},
			4,
			dataset.Changes{Changed: 1, Removed: 1},
			0, 0,
			map[string]string{"b": `{"id":"b","v":1}`, "c": `{"id":"c"}`, "f": `{"id":"f","v":"3"}`},
		},
	} {
		got, err := r.Patch(t.Context(), "prices", c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got.Record.Version != c.version || got.Changes != c.changes || got.Unchanged != c.unchanged || got.Missing != c.missing ||
			got.Created != (c.changes.Total() > 0) || got.Created && got.Record.Changes != c.changes {
			t.Errorf("patch %d: %+v", i+1, got)
		}
		if diff := cmp.Diff(c.want, content(t, r.store, got.Record)); diff != "" {
			t.Errorf("patch %d: %s", i+1, diff)
		}
		noTemp(t, r.temp)
	}
}

func TestPatchRefuses(t *testing.T) {
	r := newRig(t, nil)
	_, err := r.Patch(t.Context(), "prices", patch(`{"id":"a"}`))
	if !errors.Is(err, publish.ErrNoVersion) || !strings.Contains(err.Error(), "publish all of its records first") {
		t.Errorf("error is %v", err)
	}
	r.text(t, "prices", `{"id":"a"}`)
	newest := r.text(t, "prices", `{"id":"b"}`).Record.Ref().String()
	for base, want := range map[uint64]string{
		1: `patch dataset "prices": the patch is for version 1, the newest is ` + newest + `; make the patch again from that`,
		3: `patch dataset "prices": the patch is for version 3, the newest is ` + newest + `; there is no such version yet`,
	} {
		based := patch(`{"id":"c"}`)
		based.Base = base
		if _, err = r.Patch(t.Context(), "prices", based); !errors.Is(err, publish.ErrConflict) || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	for want, in := range map[string]publish.PatchInput{
		`line 3: key "x": the key stands on line 1 already`: patch(`{"id":"x"}`, `{"id":"y"}`, `{"id":"x","$remove":true}`),
		`line 1: the member "$remove" is not true`:          patch(`{"id":"x","$remove":false}`),
		`a patch has one at least`:                          patch(""),
		`removes every record`:                              patch(`{"id":"b","$remove":true}`),
		`named for both the key and removals`:               {Input: input(`{"id":"b"}`), Remove: "id"},
		`the field in column "$remove" is "yes"`: {Input: publish.Input{
			Body: strings.NewReader("id,$remove\na,yes\n"), Key: "id", Format: publish.FormatCSV,
		}},
		`line 1: the header has no column "gone", which marks removals; its columns are "id", "v"`: {Remove: "gone", Input: publish.Input{
			Body: strings.NewReader("id,v\na,1\n"), Key: "id", Format: publish.FormatCSV,
		}},
	} {
		if _, err := r.Patch(t.Context(), "prices", in); !errors.Is(err, publish.ErrInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
		noTemp(t, r.temp)
	}
	latest, err := r.store.Latest(t.Context(), "prices")
	if err != nil || latest.Version != 2 {
		t.Errorf("the newest is %d: %v", latest.Version, err)
	}
}

// Whatever is published and patched and compacted, in whatever order: each version holds what a map holds that had the
// same done to it, and all sums agree.
func TestVersionsHoldWhatWasDone(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MaxDeltas = 4 })
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		name := fmt.Sprint("d", n)
		m := numbered(rapid.IntRange(1, 150).Draw(rt, "records"))
		version := uint64(0)
		publishAll := func() {
			result, err := r.Publish(t.Context(), name, m.input())
			if err != nil || len(result.Warnings) > 0 {
				rt.Fatalf("%+v: %v", result, err)
			}
			version = result.Record.Version
		}
		publishAll()
		id := rapid.IntRange(0, 200)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			before := maps.Clone(m)
			lines := map[string]string{}
			var unchanged, missing uint64
			for range rapid.IntRange(1, 20).Draw(rt, "changes") {
				i := id.Draw(rt, "id")
				key := strconv.Itoa(i)
				if _, done := lines[key]; done {
					continue
				}
				old, had := m[key]
				if rapid.Bool().Draw(rt, "remove") && (len(m) > 1 || !had) {
					lines[key] = fmt.Sprintf(`{"id":%s,"$remove":true}`, key)
					delete(m, key)
					if !had {
						missing++
					}
					continue
				}
				m.set(i, rapid.IntRange(0, 3).Draw(rt, "v"))
				lines[key] = m[key]
				if old == m[key] {
					unchanged++
				}
			}
			switch rapid.SampledFrom([]string{"patch", "patch", "patch", "publish", "compact"}).Draw(rt, "step") {
			case "patch":
				got, err := r.Patch(t.Context(), name, patch(slices.Collect(maps.Values(lines))...))
				if err != nil {
					rt.Fatal(err)
				}
				if got.Unchanged != unchanged || got.Missing != missing || got.Changes.Total() != uint64(len(lines))-unchanged-missing {
					rt.Fatalf("%+v; want %d unchanged, %d missing of %d", got, unchanged, missing, len(lines))
				}
				version = got.Record.Version
			case "publish":
				publishAll()
			default:
				m = before
				if _, err := r.Compact(t.Context(), name); err != nil {
					rt.Fatal(err)
				}
			}
			rec, err := r.store.Latest(t.Context(), name)
			if err != nil || rec.Version != version {
				rt.Fatalf("the newest is %d, want %d: %v", rec.Version, version, err)
			}
			if diff := cmp.Diff(map[string]string(m), content(t, r.store, rec)); diff != "" {
				rt.Fatalf("version %d: %s", version, diff)
			}
			if len(rec.Deltas) > 0 && t.Failed() {
				rt.Fatal("the objects of the version do not agree")
			}
		}
	})
	noTemp(t, r.temp)
}

// Patches of many publishers at a time all count, each once.
func TestConcurrentPatches(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(500)
	m.publish(t, r)
	var all sync.WaitGroup
	var done atomic.Int64
	const publishers, patches = 4, 6
	for who := range publishers {
		all.Go(func() {
			for n := range patches {
				got, err := r.Patch(t.Context(), "prices", patch(
					fmt.Sprintf(`{"id":"mine-%d-%d"}`, who, n), fmt.Sprintf(`{"id":"%d","$remove":true}`, who*patches+n)))
				if err != nil || got.Changes != (dataset.Changes{Added: 1, Removed: 1}) {
					t.Errorf("%+v: %v", got, err)
					continue
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	for who := range publishers {
		for n := range patches {
			delete(m, strconv.Itoa(who*patches+n))
			id := fmt.Sprintf("mine-%d-%d", who, n)
			m[id] = fmt.Sprintf(`{"id":"%s"}`, id)
		}
	}
	latest, err := r.store.Latest(t.Context(), "prices")
	if err != nil || latest.Version != 1+uint64(done.Load()) {
		t.Fatalf("the newest is %d: %v", latest.Version, err)
	}
	if diff := cmp.Diff(map[string]string(m), content(t, r.store, latest)); diff != "" {
		t.Error(diff)
	}
	noTemp(t, r.temp)
}

// A patch for a version is refused also when the version is another's by the time of the commit.
func TestBaseIsOvertaken(t *testing.T) {
	r, f := newFaulty(t)
	numbered(300).publish(t, r)
	other := must(publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store}))
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		f.putVersion = nil
		if _, err := other.Patch(ctx, "prices", patch(`{"id":"theirs"}`)); err != nil {
			t.Error(err)
		}
		return f.Store.PutVersion(ctx, rec)
	}
	in := patch(`{"id":"mine"}`)
	in.Base = 1
	if _, err := r.Patch(t.Context(), "prices", in); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("error is %v", err)
	}
	noTemp(t, r.temp)
}
