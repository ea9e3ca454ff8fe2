package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/sourcegraph/conc/pool"
)

// Invariant: after each publish through the HTTP API, every instance answers every record of that version byte for byte
// as it was in the input, and none that is not in it.
func TestEveryInstanceServesEveryVersion(t *testing.T) {
	datasets := map[string][]edition{"browser-compat": shipped(t)[:4]}
	if !testing.Short() {
		datasets["cities"] = cities(t)
	}
	for name, all := range datasets {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, "", 3, name)
			var before map[string]string
			for i, e := range all {
				want := e.records(t)
				rec := s.post(t, name, e)
				if rec.Version != uint64(i+1) || rec.State.Records != uint64(len(want)) || rec.Labels["edition"] != e.name {
					t.Fatalf("edition %s of %d records became %+v", e.name, len(want), rec)
				}
				if got, want := rec.Changes, changes(before, want); got.Added != want.Added || got.Changed != want.Changed || got.Removed != want.Removed {
					t.Errorf("edition %s: changes are said to be %+v, want %+v", e.name, got, want)
				}
				for _, instance := range s.Instances {
					awaitVersion(t, instance, name, rec.Version)
					checkAll(t, instance, name, rec.Version, want, before)
				}
				before = want
				t.Logf("version %d (%s): %d records checked at %d instances; snapshot %d bytes", rec.Version, e.name, len(want), len(s.Instances), rec.Snapshot.Bytes)
			}
			// The last version once more, record by record as most clients ask.
			checkEach(t, s.Instances[0], name, uint64(len(all)), before)
		})
	}
}

type counts struct{ Added, Changed, Removed uint64 }

func changes(old, new map[string]string) (c counts) {
	for k, v := range new {
		switch was, ok := old[k]; {
		case !ok:
			c.Added++
		case was != v:
			c.Changed++
		}
	}
	for k := range old {
		if _, ok := new[k]; !ok {
			c.Removed++
		}
	}
	return c
}

// checkAll compares every record of the instance's version with want, and checks that removed records of before do not exist.
func checkAll(t *testing.T, instance *program, name string, version uint64, want, before map[string]string) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	for k := range before {
		if _, ok := want[k]; !ok {
			keys = append(keys, k)
		}
	}
	for part := range slices.Chunk(keys, 1000) {
		b, err := batchGet(t.Context(), instance, name, part)
		if err != nil {
			t.Fatal(err)
		}
		if b.Version != version || len(b.Records) != len(part) {
			t.Fatalf("asked for %d records of version %d, got %d of version %d", len(part), version, len(b.Records), b.Version)
		}
		for i, r := range b.Records {
			value, ok := want[part[i]]
			if r.Key != part[i] || r.Found != ok || string(r.Value) != value {
				t.Fatalf("key %q: got %q (found: %t) %s, want %t %s", part[i], r.Key, r.Found, r.Value, ok, value)
			}
		}
	}
}

// checkEach looks up every record with its own request.
func checkEach(t *testing.T, instance *program, name string, version uint64, want map[string]string) {
	t.Helper()
	p := pool.New().WithMaxGoroutines(4).WithContext(t.Context()).WithCancelOnError().WithFirstError()
	for part := range slices.Chunk(slices.Sorted(maps.Keys(want)), 5000) {
		p.Go(func(ctx context.Context) error {
			for _, key := range part {
				value, v, err := get(ctx, instance, name, key)
				if err != nil {
					return fmt.Errorf("key %q: %w", key, err)
				}
				if string(value) != want[key] || v != strconv.FormatUint(version, 10) {
					return fmt.Errorf("key %q: got %s of version %s, want %s of version %d", key, value, v, want[key], version)
				}
			}
			return nil
		})
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
}
