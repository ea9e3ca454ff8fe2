package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Invariant: a version that no instance can ever load, because its bytes in the store are not what was committed, is refused by all;
// each says so and why, and serves the version before. The next good version goes through at once.
func TestFaultVersionIsPoison(t *testing.T) {
	store := t.TempDir()
	var line *proxy
	tr := newTrial(t, "poison version", setting{store: "dir://" + store, behind: &line})
	v := tr.newest()
	tr.begin()
	line.part() // until the version is poison, no instance has it
	rec := tr.publish()
	poison(t, store, rec.Deltas[len(rec.Deltas)-1].Digest)
	line.heal()
	tr.await("the version is poison", func(d fleet.DatasetStatus) error {
		if !strings.Contains(d.Error, fmt.Sprint(rec.Version)) && !strings.Contains(d.Error, rec.Deltas[len(rec.Deltas)-1].Digest.String()) {
			return fmt.Errorf("the error does not say what is wrong: %q", d.Error)
		}
		return saying(fleet.Failing, v)(d)
	})
	failing := time.Now()
	wait(t, 2*time.Second)
	tr.await("it is tried again and again", func(d fleet.DatasetStatus) error {
		if d.Refreshes.Failed < 2 {
			return fmt.Errorf("%d attempts have failed", d.Refreshes.Failed)
		}
		if path := inStore(store, rec.Deltas[len(rec.Deltas)-1].Digest); !strings.Contains(d.Error, path) || strings.Contains(d.Warning, "wrong bytes") {
			return fmt.Errorf("error %q and warning %q; want the error to name the file %s, and the relay not to be blamed", d.Error, d.Warning, path)
		}
		return saying(fleet.Failing, v)(d)
	})
	tr.never(failing, fleet.Fresh, fleet.Blind)

	// A patch builds on what is poison; all records anew do not.
	text, next := tr.change(8)
	tr.end()
	good, err := tr.send(t.Context(), http.MethodPost, "/versions", lines(next))
	if err != nil || good.Version != rec.Version+1 {
		t.Fatalf("publish all records: version %d, %v; want version %d (of %d bytes)", good.Version, err, rec.Version+1, len(text))
	}
	tr.history = append(tr.history, next)
	tr.known()
	tr.healed()
}

// poison flips a bit of the object in the store.
func poison(t *testing.T, store string, object dataset.Digest) {
	t.Helper()
	path := inStore(store, object)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	err = os.Remove(path)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// inStore returns the path of the object in the store.
func inStore(store string, object dataset.Digest) string {
	name := object.String()
	return filepath.Join(store, "objects", name[:2], name)
}
