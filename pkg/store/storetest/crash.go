package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

const (
	crashDataset = "crashed"
	crashRounds  = 6
	crashWorkers = 3
	// crashObjectBytes bounds the objects of the crash test. They are large enough for a kill to interrupt their upload.
	crashObjectBytes = 512 << 10
)

// crashChild puts objects and versions until it is killed. It reports "put <digest> <bytes>" before each object, and
// "committed <version> <digest> <bytes>" after each commit.
func crashChild(ctx context.Context, st store.Store, report func(string, ...any)) error {
	workers := pool.New().WithContext(ctx).WithCancelOnError()
	for range crashWorkers {
		workers.Go(func(ctx context.Context) error {
			for {
				b, d := content(1+rand.Int64N(crashObjectBytes), byte(rand.Int()))
				report("put %s %d", d, len(b))
				if err := st.PutObject(ctx, d, int64(len(b)), bytes.NewReader(b)); err != nil {
					return err
				}
				rec := record(crashDataset, 1, "child")
				latest, err := st.Latest(ctx, crashDataset)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
				rec.Version = latest.Version + 1
				rec.Snapshot = dataset.Object{Version: rec.Version, Digest: d, Bytes: int64(len(b))}
				switch err := st.PutVersion(ctx, rec); {
				case err == nil:
					report("committed %d %s %d", rec.Version, d, len(b))
				case !errors.Is(err, store.ErrExists):
					return err
				}
			}
		})
	}
	return workers.Wait()
}

func (s suite) killedWritersLeaveNothingWrong(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	uploads := 0
	sizes := map[dataset.Digest]int64{}      // of every upload that the current child started
	committed := map[uint64]dataset.Digest{} // by every child
	for round := range crashRounds {
		c := startChild(t, roleCrash, location, "")
		for n := range 5 + rand.IntN(25) {
			line := c.line(t)
			if line == "" {
				c.wait(t)
				t.Fatalf("the child process ended without a kill after %d lines", n)
			}
			parseLine(t, line, sizes, committed)
		}
		c.kill(t)
		for line := c.line(t); line != ""; line = c.line(t) { // the lines that it reported before it died
			parseLine(t, line, sizes, committed)
		}
		checkObjects(t, st, sizes)
		checkVersions(t, st, committed)
		checkVersions(t, s.open(t, location), committed)
		uploads += len(sizes)
		clear(sizes)
		if t.Failed() {
			t.Fatalf("after kill %d", round+1)
		}
	}
	latest, err := st.Latest(t.Context(), crashDataset)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, st, record(crashDataset, latest.Version+1, "after"))
	t.Logf("%d uploads started, %d versions committed, %d kills", uploads, latest.Version, crashRounds)
}

func parseLine(t *testing.T, line string, sizes map[dataset.Digest]int64, committed map[uint64]dataset.Digest) {
	t.Helper()
	words := strings.Fields(line)
	if len(words) == 4 && words[0] == "committed" {
		var version uint64
		if _, err := fmt.Sscan(words[1], &version); err != nil {
			t.Fatalf("the child process reports %q", line)
		}
		d, err := dataset.ParseDigest(words[2])
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := committed[version]; twice {
			t.Errorf("version %d was committed twice", version)
		}
		committed[version] = d
		return
	}
	var hex string
	var n int64
	if _, err := fmt.Sscanf(line, "put %s %d", &hex, &n); err != nil {
		return // the kill may have cut the last line
	}
	if d, err := dataset.ParseDigest(hex); err == nil {
		sizes[d] = n
	}
}

func checkObjects(t *testing.T, st store.Store, sizes map[dataset.Digest]int64) {
	t.Helper()
	for d, n := range sizes {
		got, err := st.StatObject(t.Context(), d)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil || got != n {
			t.Errorf("object %s has %d bytes of %d: %v", d, got, n, err)
			continue
		}
		if b := read(t, st, d, 0, -1); sha256.Sum256(b) != d {
			t.Errorf("object %s reads as other content", d)
		}
	}
}

func checkVersions(t *testing.T, st store.Store, committed map[uint64]dataset.Digest) {
	t.Helper()
	recs, err := st.Versions(t.Context(), crashDataset, 0, 0)
	if err != nil {
		t.Errorf("list the versions: %v", err)
	}
	for _, rec := range recs {
		if d, ok := committed[rec.Version]; ok && d != rec.Snapshot.Digest {
			t.Errorf("version %d is not the one that was committed", rec.Version)
		}
		if n, err := st.StatObject(t.Context(), rec.Snapshot.Digest); err != nil || n != rec.Snapshot.Bytes {
			t.Errorf("version %d with an object of %d bytes: %v", rec.Version, n, err)
		}
	}
	for version := range committed {
		if version > uint64(len(recs)) {
			t.Errorf("version %d was committed and is missing", version)
		}
	}
}

// uploadKilledHalfWay kills a process that has read half of the content of a large upload.
func (s suite) uploadKilledHalfWay(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	b, d := content(s.LargeBytes, stallSeed)
	c := startChild(t, roleStall, location, fmt.Sprint(s.LargeBytes))
	if line := c.line(t); line != "half-way" {
		c.wait(t)
		t.Fatalf("the child process reports %q", line)
	}
	absent(t, st, d)
	c.kill(t)
	if line := c.line(t); line != "" {
		t.Fatalf("the child process reports %q", line)
	}
	absent(t, st, d)
	absent(t, s.open(t, location), d)
	put(t, st, b, d)
	if got := read(t, st, d, 0, -1); !bytes.Equal(got, b) {
		t.Error("the object reads as other content")
	}
}

const stallSeed = 99

// stallChild uploads the first half of an object and then waits.
func stallChild(ctx context.Context, st store.Store, size string, report func(string, ...any)) error {
	var n int64
	if _, err := fmt.Sscan(size, &n); err != nil {
		return err
	}
	b, d := content(n, stallSeed)
	return st.PutObject(ctx, d, n, io.MultiReader(bytes.NewReader(b[:n/2]), readerFunc(func([]byte) (int, error) {
		report("half-way")
		<-ctx.Done()
		return 0, ctx.Err()
	})))
}
