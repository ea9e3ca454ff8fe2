package verify_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/verify"
)

func digestOf(text string) dataset.Digest { return sha256.Sum256([]byte(text)) }

// A whole store has no finding, and each of its objects is read once, however many records name it.
func TestCleanStoreIsReadOnce(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	for i := range 9 { // with compactions on the way
		s.patch(t, 20+i, -20-i)
		must(s.Compact(t.Context(), "prices"))
	}
	for id := range 1500 { // a version that begins a chain, because its delta is large
		s.records[fmt.Sprint(id)] = line(id, id+7)
	}
	s.publish(t)
	s.patch(t, 1, 1)
	must(s.Publish(t.Context(), "rules", publish.Input{Body: strings.NewReader(`{"id":"a"}`), Key: "id"}))

	c := &counting{Store: s.reopen(t)}
	findings, totals := s.verify(t, c)
	if len(findings) > 0 {
		t.Errorf("found %+v", findings)
	}
	named := map[dataset.Digest]int64{}
	for _, name := range []string{"prices", "rules"} {
		for _, rec := range must(s.store.Versions(t.Context(), name, 0, 0)) {
			for _, o := range append(rec.Deltas, rec.Snapshot) {
				named[o.Digest] = o.Bytes
			}
			if compacted, err := s.store.NewestSnapshot(t.Context(), name, rec.Version-1, rec.Version); err == nil {
				named[compacted.Object.Digest] = compacted.Object.Bytes
			} else if !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
		}
	}
	var bytes int64
	for digest, n := range named {
		bytes += n
		if c.opened[digest] != 1 {
			t.Errorf("object %s was opened %d times", digest, c.opened[digest])
		}
	}
	want := verify.Totals{Datasets: 2, Versions: 17, Objects: uint64(len(named)), Bytes: bytes}
	if totals != want || len(c.opened) != len(named) {
		t.Errorf("totals are %+v, want %+v; %d objects were opened", totals, want, len(c.opened))
	}
}

// Content that comes back makes objects that versions share.
func TestContentThatComesBack(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	for range 3 {
		for id := range 1500 {
			s.records[fmt.Sprint(id)] = line(id, 77)
		}
		s.publish(t)
		for id := range 1500 {
			s.records[fmt.Sprint(id)] = line(id, 78)
		}
		s.publish(t)
	}
	s.clean(t)
}

// Versions, patches and compactions that are committed while a Verifier runs are no findings.
func TestVerifyWhilePublishersWork(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	const operations = 25
	var all sync.WaitGroup
	done := make(chan struct{})
	worker := func(work func(p *publish.Publisher, n int) error) {
		p := must(publish.Open(publish.Config{TempDir: t.TempDir(), MaxDeltas: 2, Workers: 1}, publish.Deps{Store: s.reopen(t)}))
		all.Go(func() {
			for n := range operations {
				if err := work(p, n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	worker(func(p *publish.Publisher, n int) error {
		_, err := p.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: strings.NewReader(line(n, 1000+n)), Key: "id"}})
		return err
	})
	worker(func(p *publish.Publisher, n int) error {
		_, err := p.Publish(t.Context(), "rules", publish.Input{Body: strings.NewReader(line(n, n) + "\n" + line(n+1, 5)), Key: "id"})
		return err
	})
	worker(func(p *publish.Publisher, _ int) error {
		_, err := p.Compact(t.Context(), "prices")
		return err
	})
	go func() {
		all.Wait()
		close(done)
	}()
	rounds := 0
	for finished := false; !finished; rounds++ {
		select {
		case <-done:
			finished = true // one more round
		default:
		}
		if findings, _ := s.verify(t, s.store); len(findings) > 0 {
			t.Fatalf("found %+v", findings)
		}
	}
	t.Logf("verified %d times during %d operations", rounds, 3*operations)
}

// heapWatch is a store that measures the heap while objects are read.
type heapWatch struct {
	store.Store
	peak uint64
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // frees what pools hold
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (h *heapWatch) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	body, err := h.Store.OpenObject(ctx, d, offset, length)
	if err != nil {
		return nil, err
	}
	return &watchedBody{ReadCloser: body, watch: h}, nil
}

// watchedBody hides the other methods of a file's reader, so that every byte passes through Read.
type watchedBody struct {
	io.ReadCloser
	watch *heapWatch
	since int
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.since += n; b.since > 4<<20 {
		b.since = 0
		b.watch.peak = max(b.watch.peak, heap())
	}
	return n, err
}

// Memory does not follow the size of the objects: a snapshot of 48 MB that does not compress takes a few MB to verify.
func TestMemoryIsBounded(t *testing.T) {
	const most = 12 << 20
	s := newDirSite(t)
	random := rand.NewChaCha8([32]byte{})
	records := func(yield func(dataset.Record, error) bool) {
		value := make([]byte, 1<<10)
		for i := range 48_000 {
			_, _ = random.Read(value)
			if !yield(dataset.Record{Key: fmt.Appendf(nil, "key-%d", i), Value: value}, nil) {
				return
			}
		}
	}
	rec := must(s.Publish(t.Context(), "large", publish.Input{Records: records})).Record
	must(s.Patch(t.Context(), "large", publish.PatchInput{Input: publish.Input{Records: publish.Pairs(func(yield func(string, string) bool) {
		yield("key-1", "changed")
	})}}))
	if rec.Snapshot.Bytes < 3*most {
		t.Fatalf("the snapshot has only %d bytes", rec.Snapshot.Bytes)
	}
	s.Publisher = nil // with the blocks that it caches
	watch := &heapWatch{Store: s.store}
	before := heap()
	if findings, totals := s.verify(t, watch); len(findings) > 0 || totals.Versions != 2 {
		t.Errorf("found %+v in %+v", findings, totals)
	}
	if watch.peak == 0 || watch.peak > before+most {
		t.Errorf("the heap grew from %d to %d KiB", before>>10, watch.peak>>10)
	}
	t.Logf("a snapshot of %d KiB took %d KiB of heap", rec.Snapshot.Bytes>>10, (int64(watch.peak)-int64(before))>>10)
}

// A long chain spans several pages of records. A lost delta in it loses the versions from there on, and instances after it go on.
func TestLongChain(t *testing.T) {
	s := newDirSite(t)
	for i := range 200 {
		s.records[fmt.Sprint(i)] = line(i, i)
	}
	s.publish(t)
	const last = 151
	for i := range last - 1 {
		s.patch(t, i, -i-1)
	}
	c := &counting{Store: s.reopen(t)}
	if findings, totals := s.verify(t, c); len(findings) > 0 || totals.Versions != last || totals.Objects != last {
		t.Errorf("found %+v in %+v", findings, totals)
	}
	for digest, n := range c.opened {
		if n != 1 {
			t.Errorf("object %s was opened %d times", digest, n)
		}
	}
	s.flip(t, s.store.ObjectPlace(s.delta(t, 100).Digest))
	findings, _ := s.verify(t, s.store)
	if len(findings) != 1 || fmt.Sprint(findings[0].Lost) != fmt.Sprintf("[versions 100 to %d]", last) || len(findings[0].Readable) > 0 ||
		!strings.Contains(findings[0].Effect, "instances that serve version 100 or later refresh by deltas") {
		t.Errorf("found %+v", findings)
	}
}

// A temporary folder that is missing is named.
func TestNoTemporaryFolder(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	v := must(verify.New(verify.Config{TempDir: s.temp + "/missing"}, verify.Deps{Store: s.store}))
	if _, err := v.Run(t.Context(), nil, func(f verify.Finding) error { return fmt.Errorf("found %+v", f) }); err == nil || !strings.Contains(err.Error(), "/missing") {
		t.Errorf("error is %v", err)
	}
}
