package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"freshet.dev/pkg/servertest"
)

// mixed is a complete freshet whose programs are those of a release or the current ones.
type mixed struct {
	*system
	*ledger
	t      *testing.T
	old    string // the folder with the release's programs
	folder string // of the store
	caches []string
	addrs  map[string]string // by program, so that another takes its place
}

// newMixed starts publisher, relay and two instances of the release, and publishes two versions.
func newMixed(t *testing.T, name string) *mixed {
	t.Helper()
	m := &mixed{
		system: &system{Redis: servertest.Redis(t), NATS: servertest.NATS(t)},
		t:      t, old: release(t, name), folder: t.TempDir(),
		caches: []string{t.TempDir(), t.TempDir()}, addrs: map[string]string{},
	}
	m.settings = []string{"REDIS_URL=" + m.Redis.URL, "NATS_URL=" + m.NATS.URL, "STORE_URL=dir://" + m.folder}
	m.Instances = make([]*program, len(m.caches))
	m.publisher(m.old)
	m.relay(m.old)
	m.ledger = newLedger(t, m.system, "prices", restoreKeys)
	for n := range m.caches {
		m.instance(n, m.old)
	}
	m.patch(8)
	m.served("all programs are of the release")
	return m
}

// swap stops the current program, if any, and starts the one in the folder on the same port.
func (m *mixed) swap(was *program, folder, key, name string, settings ...string) *program {
	m.t.Helper()
	if was != nil {
		was.Stop()
	}
	if m.addrs[key] == "" {
		m.addrs[key] = "127.0.0.1:" + strconv.Itoa(servertest.FreePort(m.t))
	}
	p := prepareAt(m.t, m.addrs[key], folder, name, nil, settings...)
	p.Start()
	return p
}

func (m *mixed) publisher(folder string) {
	m.t.Helper()
	m.Publisher = m.swap(m.Publisher, folder, "publisher", "publisher",
		append(slices.Clone(m.settings), "TEMP_DIR="+m.t.TempDir(), "BEACON_EVERY="+shortBeacon.String())...)
}

func (m *mixed) relay(folder string) {
	m.t.Helper()
	m.Relay = m.swap(m.Relay, folder, "relay", "relay", m.settings...)
}

func (m *mixed) instance(n int, folder string) {
	m.t.Helper()
	name := "instance-" + strconv.Itoa(n+1)
	m.Instances[n] = m.swap(m.Instances[n], folder, name, "server", "NATS_URL="+m.NATS.URL, "REDIS_URL="+m.Redis.URL,
		"RELAYS=http://"+m.addrs["relay"], "DATASETS="+"prices", "CACHE_DIR="+m.caches[n], "INSTANCE="+name)
}

// full publishes all records of the next version.
func (m *mixed) full() {
	m.t.Helper()
	_, next := m.change(8)
	rec, err := m.send(m.t.Context(), http.MethodPost, "/versions", lines(next))
	if err != nil || rec.Version != m.newest()+1 {
		m.t.Fatalf("publish after version %d: it became version %d, %v", m.newest(), rec.Version, err)
	}
	m.history = append(m.history, next)
}

// served waits until every instance reports to be fresh on the newest version, and checks all of its records.
func (m *mixed) served(phase string) {
	m.t.Helper()
	for _, instance := range m.Instances {
		m.awaitDataset(phase, instance, func(d served) bool { return d.State == "fresh" && d.Version == m.newest() })
		m.check(instance, m.newest())
	}
	m.t.Logf("%s: version %d is served", phase, m.newest())
}

func (m *mixed) awaitDataset(phase string, instance *program, good func(served) bool) {
	m.t.Helper()
	eventuallyIn(m.t, followsWithin, func(ctx context.Context) error {
		all, err := datasets(ctx, instance)
		if err == nil && !good(all["prices"]) {
			err = fmt.Errorf("%s: with version %d as the newest, %s says %+v", phase, m.newest(), instance.URL, all["prices"])
		}
		return err
	})
}

// Invariant: store, cache folders, event log and catalog that the release wrote are read by the programs of today: from the cache
// folder alone, from the relay alone, and all together; a patch follows what the release committed.
func TestFilesOfARelease(t *testing.T) { ofEachRelease(t, filesOfARelease) }

func filesOfARelease(t *testing.T, name string) {
	m := newMixed(t, name)
	m.full()
	m.patch(8)
	m.served("the release has written all")
	for _, p := range append([]*program{m.Publisher, m.Relay}, m.Instances...) {
		p.Stop()
	}

	m.instance(0, bin) // no relay answers
	m.awaitDataset("the cache folder alone", m.Instances[0], func(d served) bool { return d.Version == m.newest() && d.From == "cache" })
	m.check(m.Instances[0], m.newest())
	m.relay(bin)
	m.caches[1] = t.TempDir()
	m.instance(1, bin)
	m.awaitDataset("the store alone", m.Instances[1], func(d served) bool { return d.Version == m.newest() && d.From == "relay" })
	m.check(m.Instances[1], m.newest())
	m.publisher(bin)
	m.served("all programs are of today")
	m.patch(8)
	m.served("a patch follows")
	m.full()
	m.served("all records follow")
	if list := m.stored(); len(list) != int(m.newest()) {
		t.Errorf("the publisher lists %d versions, want %d", len(list), m.newest())
	}
	if _, err := m.freshet(t.Context(), "status", m.name, "--fail-if-stale"); err != nil {
		t.Error(err)
	}
}

// Invariant: the first version that is committed after those of a release names the one before, by the id that an instance gives to
// it, and the store has an id from then on.
func TestVersionsOfAReleaseHaveAnID(t *testing.T) {
	m := newMixed(t, "v0.1")
	m.publisher(bin)
	m.relay(bin)
	for n := range m.Instances {
		m.instance(n, bin)
	}
	m.served("all programs are of today")
	last := make([]said, len(m.Instances))
	for n, instance := range m.Instances {
		i := &follower{program: instance, dataset: m.name}
		eventuallyIn(t, followsWithin, func(ctx context.Context) (err error) {
			if last[n], err = i.says(ctx); err == nil && last[n].Store == "" {
				err = errors.New("it names no store")
			}
			return err
		})
	}
	m.patch(8)
	m.served("a patch follows")
	next := identityIn(t, m.folder, m.name, m.newest())
	if err := next.check(); err != nil {
		t.Error(err)
	}
	for _, s := range last {
		if s.ID == "" || next.Previous != s.ID || next.Store != s.Store {
			t.Errorf("the next version names %q before it and store %q; before, an instance said: %v", next.Previous, next.Store, s)
		}
	}
	if text, err := os.ReadFile(filepath.Join(m.folder, "store.json")); err != nil || !strings.Contains(string(text), next.Store) {
		t.Errorf("store.json is %q, and the record names store %q: %v", text, next.Store, err)
	}
}

// Invariant: instances of the release go on being refreshed by a publisher and a relay of today, by patches too, and are fresh.
func TestInstancesOfARelease(t *testing.T) { ofEachRelease(t, instancesOfARelease) }

func instancesOfARelease(t *testing.T, name string) {
	m := newMixed(t, name)
	m.publisher(bin)
	m.relay(bin)
	m.served("publisher and relay are of today")
	m.full()
	m.served("all records")
	m.patch(8)
	m.served("a patch")
	m.patch(8)
	m.served("another patch")
	file := filepath.Join(t.TempDir(), "all.ndjson")
	if err := os.WriteFile(file, []byte(lines(m.history[m.newest()-1])), 0o600); err != nil {
		t.Fatal(err)
	}
	// Those of v0.1 report no ids: the commit time shows that they serve the store's version.
	all := fmt.Sprintf("every live instance (2) serves version %d", m.newest())
	if out, err := m.freshet(t.Context(), "publish", m.name, file, "--wait", "--wait-timeout", "10s"); err != nil || !strings.Contains(out, all) {
		t.Errorf("publish --wait prints %q, want %q: %v", out, all, err)
	}
	m.instance(0, m.old)
	m.served("an instance of the release is started again")
}

// Invariant: an upgrade of instances, then relays, then publishers serves every version at every step.
func TestUpgradeOfARelease(t *testing.T) { ofEachRelease(t, upgradeOfARelease) }

func upgradeOfARelease(t *testing.T, name string) {
	m := newMixed(t, name)
	step := func(what string) {
		t.Helper()
		m.served(what)
		m.patch(8)
		m.served(what + ", and a patch")
		m.full()
		m.served(what + ", and all records")
	}
	m.instance(0, bin)
	step("one instance is of today")
	m.instance(1, bin)
	step("all instances are of today")
	m.relay(bin)
	step("relays are of today")
	m.publisher(bin)
	step("all programs are of today")
	m.instance(1, m.old)
	step("one instance went back to the release")
}
