package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
)

func TestSuccessiveVersions(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.Source = "default" })
	ctx := t.Context()
	var before dataset.VersionRecord
	for i, c := range []struct {
		in      publish.Input
		created bool
		version uint64
		changes dataset.Changes
		source  string
		want    map[string]string
	}{
		{
			publish.Input{Body: strings.NewReader(`{"id":"a","v":1}` + "\n" + `{"id":"b"}`), Labels: map[string]string{"run": "7"}},
			true, 1,
			dataset.Changes{Added: 2},
			"default",
			map[string]string{"a": `{"id":"a","v":1}`, "b": `{"id":"b"}`},
		},
		{ // the same records in another order and format
			publish.Input{Body: strings.NewReader(`[{"id":"b"}, {"id":"a","v":1}]`), Format: publish.FormatJSON},
			false, 1,
			dataset.Changes{Added: 2},
			"default",
			map[string]string{"a": `{"id":"a","v":1}`, "b": `{"id":"b"}`},
		},
		{
			publish.Input{Body: strings.NewReader(`{"id":"a","v":2}` + "\n" + `{"id":"c"}` + "\n" + `{"id":"d"}`), Source: "me"},
			true, 2,
			dataset.Changes{Added: 2, Changed: 1, Removed: 1},
			"me",
			map[string]string{"a": `{"id":"a","v":2}`, "c": `{"id":"c"}`, "d": `{"id":"d"}`},
		},
		{
			publish.Input{Body: strings.NewReader("v,id\n1,a\n"), Format: publish.FormatCSV},
			true, 3,
			dataset.Changes{Changed: 1, Removed: 2},
			"default",
			map[string]string{"a": `{"v":"1","id":"a"}`},
		},
		{ // the content of version 1 again
			publish.Input{Body: strings.NewReader(`{"id":"a","v":1}` + "\n" + `{"id":"b"}`)},
			true, 4,
			dataset.Changes{Added: 1, Changed: 1},
			"default",
			map[string]string{"a": `{"id":"a","v":1}`, "b": `{"id":"b"}`},
		},
	} {
		c.in.Key = "id"
		result, err := r.Publish(ctx, "prices", c.in)
		if err != nil {
			t.Fatal(err)
		}
		rec := result.Record
		if result.Created != c.created || rec.Version != c.version || rec.Changes != c.changes || rec.Source != c.source || len(result.Warnings) > 0 {
			t.Errorf("publish %d: %+v", i+1, result)
		}
		if diff := cmp.Diff(c.want, content(t, r.store, rec)); diff != "" {
			t.Errorf("publish %d: %s", i+1, diff)
		}
		stored, err := r.store.Latest(ctx, "prices")
		if diff := cmp.Diff(rec, stored); err != nil || diff != "" {
			t.Errorf("publish %d: %v %s", i+1, err, diff)
		}
		if i > 0 && rec.Seed != before.Seed {
			t.Errorf("publish %d changed the seed", i+1)
		}
		before = rec
		noTemp(t, r.temp)
	}
	first, err := r.store.Version(ctx, "prices", 1)
	if err != nil || first.Labels["run"] != "7" {
		t.Errorf("labels are %v: %v", first.Labels, err)
	}
	if before.Snapshot.Digest != first.Snapshot.Digest {
		t.Error("equal content has another object")
	}
}

func TestProgress(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MemoryBytes = 4 << 20 })
	var b bytes.Buffer
	for i := range 100_000 {
		fmt.Fprintf(&b, `{"id":"%d","v":"some value of a usual length for a record"}`+"\n", i)
	}
	size := int64(b.Len())
	var all []publish.Progress
	_, err := r.Publish(t.Context(), "prices", publish.Input{Body: &b, Key: "id", Progress: func(p publish.Progress) { all = append(all, p) }})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[publish.Phase]int{}
	for i, p := range all {
		counts[p.Phase]++
		if i > 0 && (p.Phase < all[i-1].Phase || p.BytesRead < all[i-1].BytesRead || p.Phase == all[i-1].Phase && p.Records < all[i-1].Records) {
			t.Errorf("%+v comes after %+v", p, all[i-1])
		}
	}
	last := all[len(all)-1]
	if last != (publish.Progress{Phase: publish.PhaseAnnouncing, BytesRead: size, Records: 100_000}) {
		t.Errorf("the last is %+v", last)
	}
	if counts[publish.PhaseReading] < 10 || counts[publish.PhaseSorting] < 5 || counts[publish.PhaseStoring] != 1 || counts[publish.PhaseAnnouncing] != 1 {
		t.Errorf("counts are %v", counts)
	}
}

// Whenever the context ends, Publish ends with its error and leaves nothing behind; after the commit it goes on.
func TestContextEnds(t *testing.T) {
	input := bytes.Repeat([]byte("x"), 100)
	var b bytes.Buffer
	for i := range 40_000 {
		fmt.Fprintf(&b, `{"id":"%d","v":"%s"}`+"\n", i, input)
	}
	stop := errors.New("enough")
	for phase := publish.PhaseReading; phase <= publish.PhaseAnnouncing; phase++ {
		t.Run(phase.String(), func(t *testing.T) {
			r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MemoryBytes = 4 << 20 })
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			_, err := r.Publish(ctx, "prices", publish.Input{Body: bytes.NewReader(b.Bytes()), Key: "id", Progress: func(p publish.Progress) {
				if p.Phase == phase {
					cancel(stop)
				}
			}})
			_, missing := r.store.Latest(t.Context(), "prices")
			if phase == publish.PhaseAnnouncing {
				if err != nil || missing != nil {
					t.Errorf("errors are %v, %v", err, missing)
				}
			} else if !(errors.Is(err, stop) || errors.Is(err, context.Canceled)) || !errors.Is(missing, store.ErrNotFound) {
				t.Errorf("errors are %v, %v", err, missing)
			}
			noTemp(t, r.temp)
		})
	}
}

func TestNewRefuses(t *testing.T) {
	st := newRig(t, nil).store
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct {
		cfg  publish.Config
		deps publish.Deps
	}{
		"Deps has no Store":                  {},
		"MemoryBytes is 1000":                {publish.Config{MemoryBytes: 1000}, publish.Deps{Store: st}},
		"Workers is -1":                      {publish.Config{Workers: -1}, publish.Deps{Store: st}},
		"MaxDeltas is 129":                   {publish.Config{MaxDeltas: publish.MaxMaxDeltas + 1}, publish.Deps{Store: st}},
		"MaxDeltaPercent is 101":             {publish.Config{MaxDeltaPercent: 101}, publish.Deps{Store: st}},
		"AnnounceTimeout is -1ns":            {publish.Config{AnnounceTimeout: -1}, publish.Deps{Store: st}},
		"Source has 300 bytes":               {publish.Config{Source: strings.Repeat("x", 300)}, publish.Deps{Store: st}},
		"the folder for temporary files":     {publish.Config{TempDir: file}, publish.Deps{Store: st}},
		filepath.Join(file, "sub") + ": not": {publish.Config{TempDir: filepath.Join(file, "sub")}, publish.Deps{Store: st}},
	} {
		if _, err := publish.Open(c.cfg, c.deps); err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), file) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, f := range []publish.Format{publish.FormatAuto, publish.FormatNDJSON, publish.FormatJSON, publish.FormatCSV} {
		if got, err := publish.ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("%v reads as %v: %v", f, got, err)
		}
	}
	if _, err := publish.ParseFormat("xml"); !errors.Is(err, publish.ErrInput) || !strings.Contains(err.Error(), "auto, ndjson, json, csv") {
		t.Errorf("error is %v", err)
	}
	want := map[string]publish.Format{
		"a.csv": publish.FormatCSV, "dir/A.CSV.GZ": publish.FormatCSV, "a.ndjson.zst": publish.FormatNDJSON, "a.jsonl": publish.FormatNDJSON,
		"a.json": publish.FormatAuto, "a": publish.FormatAuto, "a.csv.bak": publish.FormatAuto, "": publish.FormatAuto,
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got := publish.FormatOf(name); got != want[name] {
			t.Errorf("%q is %v, want %v", name, got, want[name])
		}
	}
}
