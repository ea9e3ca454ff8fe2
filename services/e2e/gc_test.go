package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	retention "freshet.dev/pkg/keep"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
)

// Invariant: garbage collections in a loop, beside publishes, patches, compactions, rollbacks, replays, killed publishers and restarted
// instances, lose nothing: every instance serves the newest version, whole, a new instance loads it, every kept version has the records that
// were published, a verification has no finding, and the store does not grow.
//
// GC_SECONDS=120 go test -timeout 1h -run TestCollections . runs longer.
func TestCollectionsBesideEverything(t *testing.T) {
	const name = "prices"
	folder := t.TempDir()
	s := newSystem(t, "dir://"+folder, 2, name)
	s.Publisher.Kill()
	s.Publisher = start(t, "publisher", append(s.settings, "TEMP_DIR="+t.TempDir(), "MAX_DELTAS=4", "COMPACT_EVERY=1s", "GC_EVERY=500ms", "GC_GRACE=2s")...)
	l := newLedger(t, s, name, 2000)
	settings := `{"settings":{"keep_versions":4,"keep_for":null},"reason":"a test"}`
	if status, _, body, err := do(t.Context(), http.MethodPatch, s.Publisher.URL+"/v1/datasets/"+name+"/settings", "application/json", []byte(settings)); err != nil || status != http.StatusOK {
		t.Fatalf("set the retention: %d %s %v", status, body, err)
	}
	seconds := 12
	if testing.Short() {
		seconds = 8
	}
	begin, long := time.Now(), time.Duration(soaked(t, "GC_SECONDS", seconds))*time.Second
	var most [4]int64 // bytes in the store, by quarter of the time
	for round := 0; time.Since(begin) < long; round++ {
		replayed := func() {}
		if round%2 == 0 && round%7 != 6 && round%5 != 4 {
			replayed = l.replays(l.newest())
		}
		l.collectionRound(round)
		replayed()
		if round%7 == 6 {
			s.Publisher.Kill()
			dropSweeps(t, folder)
			s.Publisher.Start()
		}
		if round%5 == 4 {
			s.Instances[1].Kill()
			s.Instances[1].Start()
		}
		for _, i := range s.Instances {
			awaitVersion(t, i, name, l.newest())
			l.check(i, l.newest())
		}
		for v := l.newest() - 3; v <= l.newest(); v++ {
			l.checkStored(folder, v)
		}
		quarter := min(3, int(4*time.Since(begin)/long))
		most[quarter] = max(most[quarter], storeBytes(t, folder))
	}
	fresh := s.newInstance(t, 3, name)
	awaitVersion(t, fresh, name, l.newest())
	l.check(fresh, l.newest())
	var gone dataset.VersionRanges
	eventually(t, func(ctx context.Context) error {
		text, err := s.freshet(ctx, "gc", "--output", "json", "--grace", "2s")
		if err != nil {
			return err
		}
		var report retention.Report
		if err := json.Unmarshal([]byte(text), &report); err != nil {
			return err
		}
		d := report.Datasets[0]
		if d.Gone.Count() == 0 || uint64(d.Kept)+d.Gone.Count() != d.Newest || report.Unneeded.Objects > 0 {
			return fmt.Errorf("%d of %d versions are kept, %s gone, %d objects are not needed", d.Kept, d.Newest, d.Gone, report.Unneeded.Objects)
		}
		gone = d.Gone
		return nil
	})
	loaded := 0
	for v := uint64(1); v <= l.newest(); v++ {
		if !gone.Contains(v) {
			l.checkStored(folder, v)
			loaded++
		}
	}
	if text, err := s.freshet(t.Context(), "verify"); err != nil {
		t.Errorf("the store is not whole: %v", err)
	} else {
		t.Logf("%d versions, %d of them kept and loaded; %s; most bytes in the store in each quarter: %d", l.newest(), loaded, strings.TrimSpace(text), most)
	}
	if long >= time.Minute && most[3] > 3*most[1]/2 {
		t.Errorf("the store grows: at most %d bytes in the second quarter of the time, %d in the last", most[1], most[3])
	}
}

// collectionRound publishes, patches and rolls back.
func (l *ledger) collectionRound(round int) {
	l.t.Helper()
	for range 3 {
		l.patch(10)
	}
	switch round % 3 {
	case 0: // the content of three versions ago, whose files the store has, or had
		back := l.newest() - 3
		url := fmt.Sprintf("%s/v1/datasets/%s/rollback?to=%d&reason=x", l.s.Publisher.URL, l.name, back)
		if status, _, body, err := do(l.t.Context(), http.MethodPost, url, "", nil); err != nil || status != http.StatusCreated {
			l.t.Fatalf("roll back to version %d: %d %s %v", back, status, body, err)
		}
		l.history = append(l.history, maps.Clone(l.history[back-1]))
	case 1: // the first content again and again: its snapshot is removed in between, and may be in use again
		if _, err := l.sendWith(l.t.Context(), http.MethodPost, "/versions", "&allow_shrink=true&reason=x", lines(l.history[0])); err != nil {
			l.t.Fatalf("publish the first content: %v", err)
		}
		l.history = append(l.history, l.history[0])
	}
}

// replays begins a replay on all instances, which pull the snapshot again, and one to a subject, from a version whose bytes may be gone. The
// result waits for both.
func (l *ledger) replays(newest uint64) (wait func()) {
	var running sync.WaitGroup
	for _, args := range [][]string{{"--all", "--full"}, {"--to-subject", "copy", "--from-version", strconv.FormatUint(max(1, newest-min(newest, 20)), 10)}} {
		running.Go(func() {
			if _, err := l.s.freshet(l.t.Context(), append([]string{"replay", l.name, "--reason", "a test"}, args...)...); err != nil {
				l.t.Error(err)
			}
		})
	}
	return running.Wait
}

// dropSweeps drops the sweeps of a publisher that was killed, which would stop collections and some publishes for three minutes.
func dropSweeps(t *testing.T, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "gc", "sweep-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// checkStored loads the version from the store, and compares its records with the ledger.
func (l *ledger) checkStored(folder string, version uint64) {
	l.t.Helper()
	st, err := dir.OpenExisting(folder)
	if err != nil {
		l.t.Fatal(err)
	}
	defer st.Close()
	v, err := history.New(history.Config{Workers: 1}, st).Open(l.t.Context(), l.name, version)
	if err != nil {
		l.t.Fatalf("version %d of %d: %v", version, l.newest(), err)
	}
	for _, o := range v.Record().Chain() { // what an instance pulls
		if err := store.VerifyObject(l.t.Context(), st, o.Digest, o.Bytes); err != nil {
			l.t.Errorf("version %d of %d: %v", version, l.newest(), err)
		}
	}
	stored := map[string]string{}
	for rec, err := range v.Records(l.t.Context(), nil) {
		if err != nil {
			l.t.Fatalf("version %d of %d: %v", version, l.newest(), err)
		}
		stored[string(rec.Key)] = string(rec.Value)
	}
	if !maps.Equal(stored, l.history[version-1]) {
		l.t.Errorf("version %d of %d has other records in the store than were published", version, l.newest())
	}
}

// storeBytes returns the bytes of all objects in the folder.
func storeBytes(t *testing.T, folder string) (bytes int64) {
	t.Helper()
	st, err := dir.OpenExisting(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for o, err := range st.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		bytes += o.Bytes
	}
	return bytes
}
