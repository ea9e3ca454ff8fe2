//go:build !race

package publish_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
	memory "freshet.dev/pkg/table"
)

// object opens an object of the store.
func object(t *testing.T, r *rig, o dataset.Object) *snapshot.Reader {
	t.Helper()
	f, err := r.store.OpenObject(t.Context(), o.Digest, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	file, err := snapshot.NewReader(f, snapshot.Expect(o))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// load returns the table of a version: its snapshot, and the deltas after it.
func load(t *testing.T, r *rig, rec dataset.VersionRecord) *memory.Table {
	t.Helper()
	tab, err := memory.Load(t.Context(), object(t, r, rec.Snapshot), memory.Config{Version: rec.Snapshot.Version})
	for _, o := range rec.Deltas {
		if err == nil && o.Version > rec.Snapshot.Version {
			tab, _, err = memory.Apply(t.Context(), tab, object(t, r, o), memory.Config{Version: o.Version})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestLimits publishes and patches at each limit of the input, what an instance then loads, and one above.
func TestLimits(t *testing.T) {
	name := strings.Repeat("n", dataset.MaxNameBytes)
	labels := func(n, bytes int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("%0*d", bytes, i)] = strings.Repeat("v", bytes)
		}
		return m
	}
	every := func(d time.Duration) *time.Duration { return &d }
	at := publish.Input{
		Key: "id", Source: strings.Repeat("s", dataset.MaxSourceBytes), Labels: labels(dataset.MaxLabels, dataset.MaxLabelBytes),
		ExpectEvery: every(dataset.MaxExpectEvery),
	}
	key := strings.Repeat("k", dataset.MaxKeyBytes)
	r := newRig(t, nil)
	publishAt := func(name string, in publish.Input, rows ...row) error {
		in.Body = body(rows)
		result, err := r.Publish(t.Context(), name, in)
		if err == nil {
			loads(t, r, result.Record, len(rows))
		}
		return err
	}
	patchAt := func(name string, in publish.Input, rows ...row) error {
		in.Body = body(rows)
		result, err := r.Patch(t.Context(), name, publish.PatchInput{Input: in})
		if err == nil {
			loads(t, r, result.Record, 2)
		}
		return err
	}
	largest := row{key, dataset.MaxValueBytes}
	if err := publishAt(name, at, largest); err != nil {
		t.Fatal(err)
	}
	if err := patchAt(name, at, row{key, dataset.MaxValueBytes - 1}, row{"other", dataset.MaxValueBytes}); err != nil {
		t.Fatal(err)
	}
	small := publish.Input{Key: "id", ExpectEvery: every(dataset.MinExpectEvery)}
	if err := patchAt(name, small, largest); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct {
		name string
		in   publish.Input
		row  row
	}{
		"has 65 bytes, the most is 64":           {name + "n", at, largest},
		"source has 257 bytes":                   {name, publish.Input{Key: "id", Source: at.Source + "s"}, largest},
		"33 labels, the most is 32":              {name, publish.Input{Key: "id", Labels: labels(dataset.MaxLabels+1, 2)}, largest},
		"over 256 bytes":                         {name, publish.Input{Key: "id", Labels: labels(1, dataset.MaxLabelBytes+1)}, largest},
		"promise 1s to 87840h0m0s":               {name, publish.Input{Key: "id", ExpectEvery: every(dataset.MaxExpectEvery + 1)}, largest},
		"or 0 to end":                            {name, publish.Input{Key: "id", ExpectEvery: every(dataset.MinExpectEvery - 1)}, largest},
		"the key has 1025 bytes":                 {name, at, row{key + "k", 2000}},
		"the record has 1048577 bytes, the most": {name, at, row{key, dataset.MaxValueBytes + 1}},
	} {
		for _, err := range []error{publishAt(c.name, c.in, c.row), patchAt(c.name, c.in, c.row)} {
			var e *publish.InputError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || e.Dataset != c.name {
				t.Errorf("%v; want an InputError with %q", err, want)
			} else if above := c.row != largest; above && (e.Line != 1 || len(e.Key) < 30 || !strings.HasPrefix(c.row.key, e.Key[:30])) {
				t.Errorf("%v names line %d, key %.80q", err, e.Line, e.Key)
			}
		}
	}
	if rec := must(r.store.Latest(t.Context(), name)); rec.Version != 3 {
		t.Errorf("version %s was committed", rec.ID())
	}
	noTemp(t, r.temp)
}
