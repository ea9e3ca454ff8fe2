package history_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	"freshet.dev/pkg/snapshot"
)

// randomRig returns a rig with versions of random changes: patches, publishes of all records, snapshots and compactions among them.
func randomRig(t *testing.T, seed uint64) *rig {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, 1+random.IntN(6))
	content := map[string]string{}
	change := func(changes int) {
		for range changes {
			key := fmt.Sprintf("key-%d", random.IntN(120))
			switch random.IntN(5) {
			case 0:
				delete(content, key)
			case 1:
				content[key] = "" // a value
			case 2:
				content[key+"\xff\n"] = "\x00\xff" // neither text nor JSON
			default:
				content[key] = fmt.Sprintf(`{"price":%d,"pad":"%*d"}`, random.IntN(4), random.IntN(300), 1)
			}
		}
		content["always"] = "there"
	}
	change(100)
	r.publish(t, content)
	for range 11 {
		if change(1 + random.IntN(12)); random.IntN(4) == 0 {
			change(200)
			r.publish(t, content)
		} else {
			r.patch(t, content)
		}
		if random.IntN(5) == 0 {
			if _, err := r.Compact(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r
}

// Invariant: every version reads as what was published.
func TestVersionsAreWhatWasPublished(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := randomRig(t, seed)
			for i, want := range r.contents {
				v := r.open(t, uint64(i+1))
				if v.Record().VersionID() != r.records[i].VersionID() {
					t.Errorf("version %d has another record", i+1)
				}
				checkVersion(t, v, want)
			}
			if newest := r.open(t, 0).Record(); newest.Version != uint64(len(r.contents)) {
				t.Errorf("the newest is version %d of %d", newest.Version, len(r.contents))
			}
		})
	}
}

func checkVersion(t *testing.T, v *history.Version, want map[string]string) {
	t.Helper()
	got, order, err := records(t.Context(), v, nil)
	keys := inOrder(v.Record().Seed, want)
	if err != nil || !maps.Equal(got, want) || !slices.Equal(order, keys) {
		t.Fatalf("version %d has %d records, want %d: %v", v.Record().Version, len(got), len(want), err)
	}
	for at := 0; at < len(keys); at += 17 {
		if _, rest, err := records(t.Context(), v, []byte(keys[at])); err != nil || !slices.Equal(rest, keys[at+1:]) {
			t.Fatalf("after key %d of version %d there are %d records: %v", at, v.Record().Version, len(rest), err)
		}
	}
	asked := [][]byte{[]byte("no such key"), []byte(keys[0]), []byte("x"), []byte(keys[0])}
	for _, key := range keys {
		asked = append(asked, []byte(key))
	}
	values, err := v.Get(t.Context(), asked...)
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range asked {
		value, ok := want[string(key)]
		if (values[i] != nil) != ok || string(values[i]) != value {
			t.Errorf("key %q of version %d is %q, want %q", key, v.Record().Version, values[i], value)
		}
	}
	for prefix, limit := range map[string]int{"": 7, "key-1": 3, "none": 5, "always": 1} {
		var paged []string
		var after []byte
		for {
			page, err := v.Keys(t.Context(), []byte(prefix), after, limit)
			if err != nil || len(page.Keys) > limit {
				t.Fatalf("%d keys: %v", len(page.Keys), err)
			}
			for _, key := range page.Keys {
				paged = append(paged, string(key))
			}
			if after = page.Next; after == nil {
				break
			}
		}
		matching := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !bytes.HasPrefix([]byte(key), []byte(prefix)) })
		if !slices.Equal(paged, matching) {
			t.Errorf("version %d has the keys %q with prefix %q, want %q", v.Record().Version, paged, prefix, matching)
		}
	}
}

// changesOf returns the changes that lead from one content to another, as text, in the order of the dataset.
func changesOf(seed dataset.Seed, from, to map[string]string) (all []string, counts dataset.Changes) {
	for _, key := range inOrder(seed, from, to) {
		before, was := from[key]
		after, is := to[key]
		c := snapshot.Change{Key: []byte(key), Old: []byte(before), New: []byte(after)}
		switch {
		case !was:
			c.Op, c.Old = snapshot.Added, nil
			counts.Added++
		case !is:
			c.Op, c.New = snapshot.Removed, nil
			counts.Removed++
		case before != after:
			c.Op = snapshot.Changed
			counts.Changed++
		default:
			continue
		}
		all = append(all, changeText(c))
	}
	return all, counts
}

func changeText(c snapshot.Change) string {
	return fmt.Sprintf("%v %q %q(%v) %q(%v)", c.Op, c.Key, c.Old, c.Old == nil, c.New, c.New == nil)
}

// Invariant: the diff of any two versions, in either direction, is the diff of what was published; it goes on after any key.
func TestDiffIsTheDiffOfTheInputs(t *testing.T) {
	deltas, both := 0, 0
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := randomRig(t, seed)
			for i, from := range r.contents {
				for j, to := range r.contents {
					d, err := r.Diff(t.Context(), name, uint64(i+1), uint64(j+1))
					if err != nil {
						t.Fatal(err)
					}
					if d.ByDeltas() {
						deltas++
					} else if i != j {
						both++
					}
					want, counts := changesOf(r.records[0].Seed, from, to)
					checkDiff(t, d, want, counts)
				}
			}
		})
	}
	if deltas == 0 || both == 0 {
		t.Errorf("%d diffs read deltas, %d both versions; want some of each", deltas, both)
	}
}

func checkDiff(t *testing.T, d *history.Diff, want []string, counts dataset.Changes) {
	t.Helper()
	read := func(after []byte) (all []string, keys [][]byte) {
		for c, err := range d.Changes(t.Context(), after) {
			if err != nil {
				t.Fatal(err)
			}
			all, keys = append(all, changeText(c)), append(keys, bytes.Clone(c.Key))
		}
		return all, keys
	}
	got, keys := read(nil)
	if !slices.Equal(got, want) {
		t.Fatalf("the diff from version %d to %d (by deltas: %v) is\n%q, want\n%q", d.From().Version, d.To().Version, d.ByDeltas(), got, want)
	}
	if n, err := d.Count(t.Context()); err != nil || n != counts {
		t.Errorf("%d changes are counted, want %d: %v", n, counts, err)
	}
	if n := len(keys); n > 0 {
		if rest, _ := read(keys[n/2]); !slices.Equal(rest, want[n/2+1:]) {
			t.Errorf("after key %d of %d the diff goes on with %d changes", n/2, n, len(rest))
		}
	}
	for range d.Changes(t.Context(), nil) {
		break // goleak finds goroutines that leak when a consumer stops early
	}
}

// Invariant: the history of a record is its changes through what was published, whatever the page.
func TestHistoryIsTheRecordThroughTheInputs(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := randomRig(t, seed)
			keys := inOrder(r.records[0].Seed, append(slices.Clone(r.contents), map[string]string{"never there": ""})...)
			for i, key := range keys {
				var want []string
				for v := len(r.contents); v >= 1; v-- {
					var before map[string]string
					if v > 1 {
						before = r.contents[v-2]
					}
					one := func(content map[string]string) map[string]string {
						value, ok := content[key]
						if !ok {
							return nil
						}
						return map[string]string{key: value}
					}
					changes, _ := changesOf(r.records[0].Seed, one(before), one(r.contents[v-1]))
					for _, c := range changes {
						want = append(want, fmt.Sprint(v, " ", c))
					}
				}
				for _, limit := range []int{1000, 1 + i%7} {
					if got := historyOf(t, r, key, limit); !slices.Equal(got, want) {
						t.Fatalf("the history of %q in pages of %d is\n%q, want\n%q", key, limit, got, want)
					}
				}
			}
		})
	}
}

// historyOf returns the whole history of a record as text, read in pages of versions.
func historyOf(t *testing.T, r *rig, key string, limit int) (all []string) {
	t.Helper()
	for before := uint64(0); ; {
		timeline, err := r.History(t.Context(), name, []byte(key), before, limit)
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range timeline.Events(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprint(e.Version.Version, " ", changeText(e.Change)))
		}
		if before = timeline.Next(); before == 0 {
			return all
		}
	}
}
