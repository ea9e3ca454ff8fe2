package publish_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
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
	st, err := store.Open(t.Context(), r.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	r.store = st
	cfg, deps := publish.Config{TempDir: r.temp, Workers: 2}, publish.Deps{Store: st}
	if change != nil {
		change(&cfg, &deps)
	}
	if r.Publisher, err = publish.New(cfg, deps); err != nil {
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

// content returns the records of a version, read and verified from its object in the store.
func content(t testing.TB, st store.Store, rec dataset.VersionRecord) map[string]string {
	t.Helper()
	o, err := st.OpenObject(t.Context(), rec.Snapshot.Digest, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r, err := snapshot.NewReader(o, snapshot.Expect(rec.Snapshot))
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]string{}
	for rec, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		records[string(rec.Key)] = string(rec.Value)
	}
	if r.Totals().State != rec.State || r.Totals().PayloadBytes != rec.PayloadBytes || r.Header().Seed != uint64(rec.Seed) {
		t.Errorf("version %s is not what its object says: %+v", rec.ID(), r.Totals())
	}
	return records
}
