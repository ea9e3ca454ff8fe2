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
	crashLanes   = 3
	// crashObjectBytes bounds the objects of the crash test: large enough for a kill to hit them half-way.
	crashObjectBytes = 512 << 10
)

// crashChild puts objects and versions without end, and says before each object "put <digest> <bytes>", and after
// each commit "committed <version> <digest> <bytes>".
func crashChild(ctx context.Context, st store.Store, say func(string, ...any)) error {
	lanes := pool.New().WithContext(ctx).WithCancelOnError()
	for range crashLanes {
		lanes.Go(func(ctx context.Context) error {
			for {
				b, d := content(1+rand.Int64N(crashObjectBytes), byte(rand.Int()))
				say("put %s %d", d, len(b))
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
					say("committed %d %s %d", rec.Version, d, len(b))
				case !errors.Is(err, store.ErrExists):
					return err
				}
			}
		})
	}
	return lanes.Wait()
}

func (s suite) killedWritersLeaveNothingWrong(t *testing.T) {
	url := s.URL(t)
	st := s.open(t, url)
	uploads := 0
	sizes := map[dataset.Digest]int64{}      // of every upload that the present child began
	committed := map[uint64]dataset.Digest{} // by every child
	for round := range crashRounds {
		c := startChild(t, roleCrash, url, "")
		for n := range 5 + rand.IntN(25) {
			line := c.line(t)
			if line == "" {
				c.wait(t)
				t.Fatalf("the child process ended by itself after %d lines", n)
			}
			noteLine(t, line, sizes, committed)
		}
		c.kill(t)
		for line := c.line(t); line != ""; line = c.line(t) { // what it said before it died
			noteLine(t, line, sizes, committed)
		}
		checkObjects(t, st, sizes)
		checkVersions(t, st, committed)
		checkVersions(t, s.open(t, url), committed)
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
	t.Logf("%d uploads begun, %d versions committed, %d kills", uploads, latest.Version, crashRounds)
}

func noteLine(t *testing.T, line string, sizes map[dataset.Digest]int64, committed map[uint64]dataset.Digest) {
	t.Helper()
	words := strings.Fields(line)
	if len(words) == 4 && words[0] == "committed" {
		var version uint64
		if _, err := fmt.Sscan(words[1], &version); err != nil {
			t.Fatalf("the child process says %q", line)
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
		return // the last line may have been cut by the kill
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
			t.Errorf("version %d was committed and is not there", version)
		}
	}
}

// uploadKilledHalfWay kills a process in the middle of a large upload, where the suite knows it to be.
func (s suite) uploadKilledHalfWay(t *testing.T) {
	url := s.URL(t)
	st := s.open(t, url)
	b, d := content(s.LargeBytes, stallSeed)
	c := startChild(t, roleStall, url, fmt.Sprint(s.LargeBytes))
	if line := c.line(t); line != "half-way" {
		c.wait(t)
		t.Fatalf("the child process says %q", line)
	}
	absent(t, st, d)
	c.kill(t)
	if line := c.line(t); line != "" {
		t.Fatalf("the child process says %q", line)
	}
	absent(t, st, d)
	absent(t, s.open(t, url), d)
	put(t, st, b, d)
	if got := read(t, st, d, 0, -1); !bytes.Equal(got, b) {
		t.Error("the object reads as other content")
	}
}

const stallSeed = 99

// stallChild uploads the first half of an object and then waits.
func stallChild(ctx context.Context, st store.Store, size string, say func(string, ...any)) error {
	var n int64
	if _, err := fmt.Sscan(size, &n); err != nil {
		return err
	}
	b, d := content(n, stallSeed)
	return st.PutObject(ctx, d, n, io.MultiReader(bytes.NewReader(b[:n/2]), readerFunc(func([]byte) (int, error) {
		say("half-way")
		<-ctx.Done()
		return 0, ctx.Err()
	})))
}
