package publish_test

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"go.uber.org/goleak"
)

// children are the processes that tests start: this program, with CHILD set to a name.
var children = map[string]func() error{}

func TestMain(m *testing.M) {
	if child := children[os.Getenv("CHILD")]; child != nil {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// rig is a publisher with a store of its own in a folder.
type rig struct {
	*publish.Publisher
	store store.Store
	url   string
	temp  string
}

// newRig opens a store in a new folder, and a publisher on it that is configured by change.
func newRig(t testing.TB, change func(*publish.Config, *publish.Deps)) *rig {
	t.Helper()
	r := &rig{url: "dir://" + t.TempDir(), temp: t.TempDir()}
	st, err := storeurl.Open(t.Context(), r.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	r.store = st
	cfg, deps := publish.Config{TempDir: r.temp, Workers: 2}, publish.Deps{Store: st}
	if change != nil {
		change(&cfg, &deps)
	}
	if r.Publisher, err = publish.Open(cfg, deps); err != nil {
		t.Fatal(err)
	}
	return r
}

// text publishes text as NDJSON or JSON with the key in member id.
func (r *rig) text(t testing.TB, name, text string) publish.Result {
	t.Helper()
	result, err := r.Publish(t.Context(), name, publish.Input{Body: strings.NewReader(text), Key: "id"})
	if err != nil {
		t.Fatal(err)
	}
	noTemp(t, r.temp)
	return result
}

// noTemp fails if there are temporary files.
func noTemp(t testing.TB, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left in the temporary folder: %v", left, err)
	}
}

// content returns the records of a version, read and verified from its objects in the store. The whole chain of deltas
// is verified, also the part from before the snapshot: each delta leads from the version before to the one it is of.
func content(t testing.TB, st store.Store, rec dataset.VersionRecord) map[string]string {
	t.Helper()
	open := func(o dataset.Object) *snapshot.Reader {
		f, err := st.OpenObject(t.Context(), o.Digest, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		r, err := snapshot.NewReader(f, snapshot.Expect(o))
		if err != nil {
			t.Fatal(err)
		}
		if r.Header().Seed != uint64(rec.Seed) {
			t.Errorf("an object of version %s has the seed %x", rec.ID(), r.Header().Seed)
		}
		return r
	}
	base := open(rec.Snapshot)
	var deltas []iter.Seq2[dataset.Record, error]
	for _, o := range rec.Deltas {
		delta := open(o)
		for _, err := range delta.Records() {
			if err != nil {
				t.Fatal(err)
			}
		}
		totals := delta.Totals()
		before, after := must(st.Version(t.Context(), rec.Dataset, o.Version-1)), must(st.Version(t.Context(), rec.Dataset, o.Version))
		if o.Version == rec.Version {
			after = rec
		}
		if totals.Base != before.State || totals.State != after.State {
			t.Errorf("the delta to version %d leads from %v to %v, want from %v to %v", o.Version, totals.Base, totals.State, before.State, after.State)
		}
		if totals.Entries != after.Changes.Total() || totals.Removals != after.Changes.Removed {
			t.Errorf("the delta to version %d has %d entries, %d removals; its changes are %+v", o.Version, totals.Entries, totals.Removals, after.Changes)
		}
		if o.Version > rec.Snapshot.Version {
			deltas = append(deltas, open(o).Records())
		}
	}
	records := map[string]string{}
	var state dataset.Checksum
	payload := uint64(0)
	for r, err := range snapshot.Merge(uint64(rec.Seed), base.Records(), deltas...) {
		if err != nil {
			t.Fatal(err)
		}
		records[string(r.Key)] = string(r.Value)
		state.Add(uint64(rec.Seed), dataset.AppendRecord(nil, r))
		payload += uint64(len(r.Key) + len(r.Value))
	}
	if state != rec.State || payload != rec.PayloadBytes {
		t.Errorf("version %s is not what its objects say: %v, %d bytes; want %v, %d", rec.ID(), state, payload, rec.State, rec.PayloadBytes)
	}
	return records
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// spoil flips a bit of an object in the store.
func spoil(t testing.TB, r *rig, d dataset.Digest) {
	t.Helper()
	path := strings.TrimPrefix(r.url, "dir://") + "/objects/" + d.String()[:2] + "/" + d.String()
	b := must(os.ReadFile(path))
	b[len(b)/2] ^= 1
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// damageRecord makes a version record in the store unreadable.
func (r *rig) damageRecord(t testing.TB, name string, version uint64) {
	t.Helper()
	r.overwriteRecord(t, name, version, []byte("{}"))
}

// overwriteRecord puts other bytes in the place of a version record in the store.
func (r *rig) overwriteRecord(t testing.TB, name string, version uint64, b []byte) {
	t.Helper()
	path := filepath.Join(strings.TrimPrefix(r.url, "dir://"), "versions", name, fmt.Sprintf("%020d.json", version))
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}
