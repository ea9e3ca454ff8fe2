package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store/storeurl"
)

const (
	// shortBeacon is the period of the beacon in these tests, and restoreKeys how many keys their dataset may have.
	shortBeacon = 200 * time.Millisecond
	restoreKeys = 60
	// followsWithin is how long instances may take to follow their store.
	followsWithin = 20 * time.Second
)

// restoration is a complete freshet whose store is a folder that the test exchanges while it polls every instance.
type restoration struct {
	*system
	*ledger
	t      *testing.T
	folder string // of the store
	relays []*program
	fleet  []*follower

	// began is when the programs over the present store were ready; zero while they are down.
	began time.Time
	// followed is when every instance was first seen to follow the store in the last phase.
	followed time.Time
}

// newRestoration starts a restoration with an empty store, the given number of relays and no instance.
func newRestoration(t *testing.T, relays int) *restoration {
	t.Helper()
	w := newEnvironment(t, &system{Redis: servertest.Redis(t), NATS: servertest.NATS(t)}, filepath.Join(t.TempDir(), "store"), relays)
	w.ledger = newLedger(t, w.system, "prices", restoreKeys)
	return w
}

// newEnvironment starts a publisher and relays with the store in the folder, with the servers and in the namespace of s. The caller
// sets the ledger.
func newEnvironment(t *testing.T, s *system, folder string, relays int) *restoration {
	t.Helper()
	w := &restoration{system: s, t: t, folder: folder}
	w.settings = []string{
		"REDIS_URL=" + w.Redis.URL, "NATS_URL=" + w.NATS.URL, "STORE_URL=dir://" + w.folder, "NAMESPACE=" + w.namespace,
	}
	w.Publisher = w.publisher(w.settings)
	for range relays {
		w.relays = append(w.relays, start(t, "relay", w.settings...))
	}
	w.Relay = w.relays[0]
	w.began = time.Now()
	return w
}

// publisher starts a publisher with a short period of the beacon.
func (w *restoration) publisher(settings []string) *program {
	w.t.Helper()
	return start(w.t, "publisher", append(slices.Clone(settings), "TEMP_DIR="+w.t.TempDir(), "BEACON_EVERY="+shortBeacon.String())...)
}

// follow starts an instance and polls it until the test ends.
func (w *restoration) follow(name string, cached bool) *follower {
	w.t.Helper()
	var urls []string
	for _, r := range w.relays {
		urls = append(urls, r.URL)
	}
	settings := []string{
		"NATS_URL=" + w.NATS.URL, "REDIS_URL=" + w.Redis.URL, "RELAYS=" + strings.Join(urls, ","), "DATASETS=" + w.name, "INSTANCE=" + name, "NAMESPACE=" + w.namespace,
	}
	i := &follower{name: name, dataset: w.name}
	if cached {
		i.cache = w.t.TempDir()
		settings = append(settings, "CACHE_DIR="+i.cache)
	}
	i.program = prepare(w.t, "server", settings...)
	i.start()
	i.polled(w.t)
	w.fleet = append(w.fleet, i)
	w.Instances = append(w.Instances, i.program)
	return i
}

// down stops the publisher and the relays.
func (w *restoration) down() {
	w.t.Helper()
	w.Publisher.Stop()
	for _, r := range w.relays {
		r.Stop()
	}
	w.began = time.Time{}
}

// up starts the publisher and the relays.
func (w *restoration) up() {
	w.t.Helper()
	for _, r := range w.relays {
		r.Start()
	}
	w.Publisher.Start()
	w.began = time.Now()
}

// copied returns a folder with a copy of the store.
func (w *restoration) copied() string {
	w.t.Helper()
	for {
		to := filepath.Join(w.t.TempDir(), "copy")
		err := os.CopyFS(to, os.DirFS(w.folder))
		switch {
		case errors.Is(err, os.ErrNotExist): // the publisher renamed a temporary file during the copy
			continue
		case err != nil:
			w.t.Fatal(err)
		}
		return to
	}
}

// exchange replaces the store by the folder; empty means an empty folder. history is the content of the folder.
func (w *restoration) exchange(folder string, history []map[string]string) {
	w.t.Helper()
	err := os.RemoveAll(w.folder)
	switch {
	case err != nil:
	case folder == "":
		err = os.Mkdir(w.folder, 0o777)
	default:
		err = os.Rename(folder, w.folder)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.history = history
}

// diverge publishes versions to the store in the folder without events, beacons and catalog, and returns the resulting history of the
// folder.
func (w *restoration) diverge(folder string, history []map[string]string, versions int) []map[string]string {
	w.t.Helper()
	objects, err := storeurl.Open(w.t.Context(), "dir://"+folder)
	if err != nil {
		w.t.Fatal(err)
	}
	defer objects.Close()
	elsewhere, err := publish.Open(publish.Config{TempDir: w.t.TempDir()}, publish.Deps{Store: objects})
	if err != nil {
		w.t.Fatal(err)
	}
	here := w.history
	defer func() { w.history = here }()
	w.history = slices.Clone(history)
	for range versions {
		_, next := w.change(8)
		if _, err := elsewhere.Publish(w.t.Context(), w.name, publish.Input{Body: strings.NewReader(lines(next)), Key: "key"}); err != nil {
			w.t.Fatal(err)
		}
		w.history = append(w.history, next)
	}
	return w.history
}

// first publishes a first version of the dataset to an empty store.
func (w *restoration) first() {
	w.t.Helper()
	all := map[string]string{}
	for len(all) < restoreKeys/2 {
		key := w.key()
		all[key] = w.line(key)
	}
	if _, err := w.send(w.t.Context(), http.MethodPost, "/versions", lines(all)); err != nil {
		w.t.Fatalf("publish the first version: %v", err)
	}
	w.history = append(w.history, all)
}

// record returns the identity of the store's newest version.
func (w *restoration) record() (r identity) {
	w.t.Helper()
	return identityIn(w.t, w.folder, w.name, w.newest())
}

// follows waits until every running instance reports to be fresh on the store's newest version and id, and compares all records with the
// published ones. `freshet status --fail-if-stale` must then exit with 0.
func (w *restoration) follows(phase string) {
	w.t.Helper()
	w.t.Logf("%s: the store has version %d", phase, w.newest())
	want := w.record()
	if err := want.check(); err != nil {
		w.t.Errorf("%s: version %d in the store: %v", phase, w.newest(), err)
	}
	for _, i := range w.fleet {
		eventuallyIn(w.t, followsWithin, func(ctx context.Context) error {
			s, err := i.says(ctx)
			if err == nil && (s.State != "fresh" || s.Version != w.newest() || s.ID != want.ID || s.Store != want.Store) {
				err = fmt.Errorf("want fresh on version %d with id %s of store %s: %v", w.newest(), want.ID, want.Store, s)
			}
			if err != nil {
				err = fmt.Errorf("%s: %s: %w", phase, i.name, err)
			}
			return err
		})
	}
	w.followed = time.Now()
	for _, i := range w.fleet {
		w.check(i.program, w.newest())
	}
	eventuallyIn(w.t, followsWithin, func(ctx context.Context) error {
		_, err := w.freshet(ctx, "status", w.name, "--fail-if-stale")
		return err
	})
}

// lost waits until no instance reports to be fresh on a version of a removed store.
func (w *restoration) lost(phase string) {
	w.t.Helper()
	for _, i := range w.fleet {
		eventuallyIn(w.t, followsWithin, func(ctx context.Context) error {
			s, err := i.says(ctx)
			if err == nil && s.State == "fresh" {
				err = errors.New("it is fresh, and the store has nothing")
			}
			if err != nil {
				err = fmt.Errorf("%s: %s: %w: %v", phase, i.name, err, s)
			}
			return err
		})
	}
	if _, err := w.freshet(w.t.Context(), "status", w.name, "--fail-if-stale"); exitCode(err) != 7 {
		w.t.Errorf("%s: instances serve what the store does not have, and status --fail-if-stale ends with %v, want exit code 7", phase, err)
	}
}

// forgetLog deletes the event log.
func (w *restoration) forgetLog() {
	w.t.Helper()
	if err := jetStream(w.t, w.NATS.URL).DeleteStream(w.t.Context(), streamName); err != nil {
		w.t.Fatal(err)
	}
}

// identity has the fields of a version's record in the store that identify the version.
type identity struct {
	ID       string `json:"id"`
	Store    string `json:"store_id"`
	Previous string `json:"previous"`
}

// identityIn reads an identity from the record in the store's folder.
func identityIn(t *testing.T, folder, name string, version uint64) (r identity) {
	t.Helper()
	readJSON(t, filepath.Join(folder, "versions", name, fmt.Sprintf("%020d.json", version)), &r)
	return r
}

// check returns an error for a missing field of the identity.
func (r identity) check() error {
	switch {
	case len(r.ID) != 40 || strings.Trim(r.ID, "0123456789abcdef") != "":
		return fmt.Errorf("the version id is %q, want 40 hex digits", r.ID)
	case r.Store == "":
		return errors.New("the record names no store id")
	}
	return nil
}

// keysOf returns all keys that the dataset may have.
func keysOf(n int) []string {
	all := map[string]bool{}
	for k := range n {
		all["key-"+strconv.Itoa(k)] = true
	}
	return slices.Sorted(maps.Keys(all))
}
