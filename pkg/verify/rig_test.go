package verify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/pkg/verify"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// site is a store with a publisher, whose files a test damages.
type site struct {
	*publish.Publisher
	store   store.Store
	url     string
	temp    string
	file    func(place string) string // at a place of the store
	records map[string]string         // of the dataset prices
}

func newDirSite(t *testing.T) *site {
	t.Helper()
	return newSite(t, "dir://"+t.TempDir(), func(place string) string { return place })
}

// newS3Site makes stores on one server.
func newS3Site(t *testing.T) func(*testing.T) *site {
	server := servertest.S3(t)
	return func(t *testing.T) *site {
		t.Helper()
		return newSite(t, server.URL(strings.NewReplacer(" ", "-", "/", "-").Replace(t.Name())),
			func(place string) string { return server.Root + "/" + strings.TrimPrefix(place, "s3://") })
	}
}

func newSite(t *testing.T, url string, file func(string) string) *site {
	t.Helper()
	s := &site{url: url, temp: t.TempDir(), file: file, records: map[string]string{}}
	s.store = s.reopen(t)
	s.Publisher = must(publish.Open(publish.Config{TempDir: s.temp, MaxDeltas: 2, Workers: 2}, publish.Deps{Store: s.store}))
	return s
}

// reopen returns another handle of the store, which knows no version.
func (s *site) reopen(t *testing.T) store.Store {
	t.Helper()
	st := must(storeurl.Open(t.Context(), s.url))
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func line(id, v int) string {
	return fmt.Sprintf(`{"id":"%d","v":"%016x%016x"}`, id, int64(v)*0x9e3779b9, int64(v)^0x5bd1e995)
}

// publish publishes all records.
func (s *site) publish(t *testing.T) dataset.VersionRecord {
	t.Helper()
	body := strings.NewReader(strings.Join(slices.Sorted(maps.Values(s.records)), "\n"))
	return must(s.Publish(t.Context(), "prices", publish.Input{Body: body, Key: "id"})).Record
}

// patch changes one record.
func (s *site) patch(t *testing.T, id, v int) dataset.VersionRecord {
	t.Helper()
	s.records[fmt.Sprint(id)] = line(id, v)
	return must(s.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: strings.NewReader(line(id, v)), Key: "id"}})).Record
}

// fill makes five versions of prices: version 1 with a snapshot, patches to version 4, of which a compaction writes a snapshot, and a patch
// to version 5, which names that.
func (s *site) fill(t *testing.T) {
	t.Helper()
	for i := range 2000 {
		s.records[fmt.Sprint(i)] = line(i, i)
	}
	s.publish(t)
	for i := range 3 {
		s.patch(t, i, -i-1)
	}
	if made := must(s.Compact(t.Context(), "prices")); made.Record.Object.Version != 4 {
		t.Fatalf("%+v", made)
	}
	if rec := s.patch(t, 10, -10); rec.Version != 5 || rec.Snapshot.Version != 4 || len(rec.Deltas) != 4 {
		t.Fatalf("%+v", rec)
	}
}

// record returns a version record as it is committed.
func (s *site) record(t *testing.T, version uint64) dataset.VersionRecord {
	t.Helper()
	return must(s.store.Version(t.Context(), "prices", version))
}

// delta returns the delta to a version.
func (s *site) delta(t *testing.T, version uint64) dataset.Object {
	t.Helper()
	o, ok := s.record(t, version).OwnDelta()
	if !ok {
		t.Fatalf("version %d has no delta", version)
	}
	return o
}

func (s *site) compacted(t *testing.T) dataset.SnapshotRecord {
	t.Helper()
	return must(s.store.NewestSnapshot(t.Context(), "prices", 0, 1<<20))
}

// overwrite puts other bytes in the place of a file of the store.
func (s *site) overwrite(t *testing.T, place string, change func([]byte) []byte) {
	t.Helper()
	path := s.file(place)
	b := must(os.ReadFile(path))
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, change(b), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func (s *site) flip(t *testing.T, place string) {
	t.Helper()
	s.overwrite(t, place, func(b []byte) []byte {
		b[len(b)/2] ^= 1
		return b
	})
}

func (s *site) remove(t *testing.T, place string) {
	t.Helper()
	if err := os.Remove(s.file(place)); err != nil {
		t.Fatal(err)
	}
}

// verify verifies the store through st.
func (s *site) verify(t *testing.T, st store.Store, names ...string) ([]verify.Finding, verify.Totals) {
	t.Helper()
	v := must(verify.New(verify.Config{TempDir: s.temp, Settle: time.Millisecond}, verify.Deps{Store: st}))
	var findings []verify.Finding
	totals, err := v.Run(t.Context(), names, func(f verify.Finding) error {
		findings = append(findings, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if left := must(os.ReadDir(s.temp)); len(left) > 0 {
		t.Errorf("%v is left in the temporary folder", left)
	}
	return findings, totals
}

// clean fails if the store has a finding.
func (s *site) clean(t *testing.T) {
	t.Helper()
	if findings, _ := s.verify(t, s.reopen(t)); len(findings) > 0 {
		t.Errorf("found %+v", findings)
	}
}

// counting counts how often each object is opened.
type counting struct {
	store.Store
	mu     sync.Mutex
	opened map[dataset.Digest]int // guarded by mu
}

func (c *counting) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened == nil {
		c.opened = map[dataset.Digest]int{}
	}
	c.opened[d]++
	return c.Store.OpenObject(ctx, d, offset, length)
}
