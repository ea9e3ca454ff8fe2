package history_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	"freshet.dev/pkg/publish"
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

const name = "prices"

// rig is a store in a folder with a publisher, a reader, and what they should hold.
type rig struct {
	*publish.Publisher
	*history.Reader
	store  *counting
	folder string

	records  []dataset.VersionRecord // of the versions, from 1
	contents []map[string]string     // of the versions, from 1
}

// newRig returns a rig whose publisher makes snapshots due after maxDeltas.
func newRig(t testing.TB, maxDeltas int) *rig {
	t.Helper()
	r := &rig{folder: t.TempDir()}
	st, err := storeurl.Open(t.Context(), "dir://"+r.folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	r.store = &counting{Store: st}
	r.Publisher, err = publish.Open(publish.Config{TempDir: t.TempDir(), Workers: 2, MaxDeltas: maxDeltas, MaxDeltaPercent: 100}, publish.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	r.fresh()
	return r
}

// fresh replaces the reader by one that has cached nothing.
func (r *rig) fresh() { r.Reader = history.New(history.Config{}, r.store) }

// add adds a version of the content that is not in the rig yet.
func (r *rig) add(rec dataset.VersionRecord, content map[string]string) {
	r.records, r.contents = append(r.records, rec), append(r.contents, maps.Clone(content))
}

// publish publishes the content as a whole.
func (r *rig) publish(t testing.TB, content map[string]string) dataset.VersionRecord {
	t.Helper()
	result, err := r.Publish(t.Context(), name, publish.Input{Records: publish.Pairs(maps.All(content))})
	if err != nil {
		t.Fatal(err)
	}
	if result.Created {
		r.add(result.Record, content)
	}
	return result.Record
}

// patch publishes the difference from the newest version to the content.
func (r *rig) patch(t testing.TB, content map[string]string) dataset.VersionRecord {
	t.Helper()
	newest := r.contents[len(r.contents)-1]
	var changes []dataset.Record
	for key, value := range content {
		if old, ok := newest[key]; !ok || old != value {
			changes = append(changes, dataset.Record{Key: []byte(key), Value: []byte(value)})
		}
	}
	for key := range newest {
		if _, ok := content[key]; !ok {
			changes = append(changes, dataset.Record{Key: []byte(key), Removed: true})
		}
	}
	if len(changes) == 0 {
		return r.records[len(r.records)-1]
	}
	result, err := r.Patch(t.Context(), name, publish.PatchInput{Input: publish.Input{Records: func(yield func(dataset.Record, error) bool) {
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if result.Created {
		r.add(result.Record, content)
	}
	return result.Record
}

// open opens a version.
func (r *rig) open(t testing.TB, version uint64) *history.Version {
	t.Helper()
	v, err := r.Open(t.Context(), name, version)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// path returns the path of an object.
func (r *rig) path(o dataset.Object) string {
	return filepath.Join(r.folder, "objects", o.Digest.String()[:2], o.Digest.String())
}

// lose removes an object from the store.
func (r *rig) lose(t testing.TB, o dataset.Object) {
	t.Helper()
	if err := os.Remove(r.path(o)); err != nil {
		t.Fatal(err)
	}
	r.fresh()
}

// spoil flips a bit in the middle of an object.
func (r *rig) spoil(t testing.TB, o dataset.Object) {
	t.Helper()
	b, err := os.ReadFile(r.path(o))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(r.path(o), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path(o), b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.fresh()
}

// records reads all records of a version after a key.
func records(ctx context.Context, v *history.Version, after []byte) (content map[string]string, keys []string, err error) {
	content = map[string]string{}
	for r, err := range v.Records(ctx, after) {
		if err != nil {
			return content, keys, err
		}
		content[string(r.Key)] = string(r.Value)
		keys = append(keys, string(r.Key))
	}
	return content, keys, nil
}

// inOrder returns the keys of the contents in the order of the dataset.
func inOrder(seed dataset.Seed, contents ...map[string]string) []string {
	var keys []string
	for _, c := range contents {
		keys = slices.AppendSeq(keys, maps.Keys(c))
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(dataset.Hash(uint64(seed), []byte(a)), dataset.Hash(uint64(seed), []byte(b))), strings.Compare(a, b))
	})
	return slices.Compact(keys)
}

// counting counts what is read out of objects.
type counting struct {
	store.Store
	mu    sync.Mutex
	reads map[dataset.Digest][]int64 // the bytes of each read; nil: not counted
}

func (c *counting) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	c.mu.Lock()
	if c.reads != nil {
		if length < 0 {
			length = 1 << 40 // no test allows it
		}
		c.reads[d] = append(c.reads[d], length)
	}
	c.mu.Unlock()
	return c.Store.OpenObject(ctx, d, offset, length)
}

// count counts the reads of do.
func (c *counting) count(do func()) map[dataset.Digest][]int64 {
	c.reads = map[dataset.Digest][]int64{}
	defer func() { c.reads = nil }()
	do()
	return c.reads
}

func sum(reads map[dataset.Digest][]int64) (bytes int64) {
	for _, r := range reads {
		for _, n := range r {
			bytes += n
		}
	}
	return bytes
}
