package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
)

const (
	// beaconEvery is the period of the publisher's beacon in a trial, and blindAfter how long an instance claims nothing less than
	// the best without one.
	beaconEvery = 500 * time.Millisecond
	blindAfter  = 3 * beaconEvery
	// late is how much later than it should something may happen, or be seen, on a machine that is busy.
	late = 1500 * time.Millisecond
)

// trial is one fault and what it is tried on: freshet whole, of which every instance is read and watched the whole time. Three
// things hold in all trials, whatever the fault, and are checked when it ends:
//
//   - Every answer is exactly the content of one committed version. No instance returns to an older version, unless it was restarted:
//     then to no older version than its cache folder had.
//   - No instance reports to be fresh for longer than three periods of the beacon while a newer version is committed than it serves. For
//     that time it may trust the last beacon, or the event log's answer after a reconnect.
//   - After the fault, every instance serves the newest committed version and reports to be fresh, without help. The next version has
//     the next number. Instances, publisher and relay have as many goroutines and file descriptors as before.
type trial struct {
	*system
	*ledger
	t         *testing.T
	fault     string
	instances []*subject
	relay     string // the URL that the instances have for it
	// points are the failpoints of the publisher; of each instance its own has them.
	points failpoints

	mu      sync.Mutex
	commits []commit // ascending; guarded by mu

	before   map[string]usage // by program
	reported []fleet.Report   // of states; guarded by mu
	began    time.Time        // the fault
	mended   time.Time        // zero while it lasts
	// others is how long further datasets took to heal, and note what else the table's row says.
	others time.Duration
	note   string
	// room is how much more a program may have after the fault than in other trials.
	room usage
}

// commit is a version and the time since which it is known to be committed.
type commit struct {
	version uint64
	at      time.Time
}

// setting configures a trial. The zero setting is a complete freshet with two instances.
type setting struct {
	instances int // 0: two
	// publisher and instance are further settings, as for start.
	publisher []string
	instance  func(n int) []string // n is from 1
	relay     []string
	// store is a store URL; empty means a folder of the test's.
	store string
	// nats is the URL of NATS where the trial does not run one nats-server itself.
	nats string
	// cache returns the cache folder of an instance; nil or an empty answer means one of the test's.
	cache func(n int) string
	// before is called when the servers run, and none of our programs does.
	before func(*system)
	// behind, if not nil, is set to a proxy that the instances have between them and the relay.
	behind **proxy
	// failing has the publisher and the instances built with failpoints.
	failing bool
	// keys is how many keys there are at most; 0: 400.
	keys int
}

// newTrial starts a trial, publishes some versions and waits until every instance is fresh.
func newTrial(t *testing.T, fault string, set setting) *trial {
	t.Helper()
	const name = "prices"
	if set.store == "" {
		set.store = "dir://" + t.TempDir()
	}
	s := &system{Redis: servertest.Redis(t)}
	if set.nats == "" {
		s.NATS = servertest.NATS(t)
		set.nats = s.NATS.URL
	}
	s.settings = []string{"REDIS_URL=" + s.Redis.URL, "NATS_URL=" + set.nats, "STORE_URL=" + set.store, "LOG_LEVEL=debug"}
	tr := &trial{system: s, t: t, fault: fault, before: map[string]usage{}}
	if set.before != nil {
		set.before(s)
	}
	ofPublisher := slices.Concat(s.settings, []string{"TEMP_DIR=" + t.TempDir(), "BEACON_EVERY=" + beaconEvery.String()}, set.publisher)
	if set.failing {
		s.Publisher, tr.points = prepareFailing(t, "publisher", ofPublisher...)
	} else {
		s.Publisher = prepare(t, "publisher", ofPublisher...)
	}
	s.Publisher.Start()
	s.Relay = start(t, "relay", slices.Concat(s.settings, set.relay)...)
	tr.relay = s.Relay.URL
	if set.behind != nil {
		*set.behind = newProxy(t, s.Relay.URL)
		tr.relay = (*set.behind).URL
	}
	if set.instances == 0 {
		set.instances = 2
	}
	for n := range set.instances {
		tr.addInstance(n+1, name, set)
	}
	keys := set.keys
	if keys == 0 {
		keys = 400
	}
	tr.ledger = newLedger(t, s, name, keys)
	tr.known()
	for range 3 {
		tr.publish()
	}
	tr.await("the trial begins", fresh(tr.newest()))
	served := time.Now()
	tr.await("the trial begins", func(d fleet.DatasetStatus) error {
		if d.Confirmed.Before(served) {
			return errors.New("it has not heard a beacon yet, nor how often there is one")
		}
		return nil
	})
	for _, i := range tr.instances {
		i.watched(tr)
	}
	tr.hear(set.nats)
	tr.measure()
	return tr
}

// addInstance starts an instance without readers and status queries.
func (tr *trial) addInstance(n int, name string, set setting) {
	tr.t.Helper()
	i := &subject{n: n, name: name}
	if set.cache != nil {
		i.cache = set.cache(n)
	}
	if i.cache == "" {
		i.cache = tr.t.TempDir()
	}
	settings := []string{
		"NATS_URL=" + set.nats, "REDIS_URL=" + tr.Redis.URL, "RELAYS=" + tr.relay, "DATASETS=" + name, "CACHE_DIR=" + i.cache,
		"INSTANCE=instance-" + strconv.Itoa(n),
	}
	if set.instance != nil {
		settings = append(settings, set.instance(n)...)
	}
	if set.failing {
		i.program, i.points = prepareFailing(tr.t, "server", settings...)
	} else {
		i.program = prepare(tr.t, "server", settings...)
	}
	i.program.Start()
	tr.instances = append(tr.instances, i)
	tr.Instances = append(tr.Instances, i.program)
}

// known records that all versions of the ledger are committed.
func (tr *trial) known() { tr.exists(tr.newest()) }

// exists records that the version and all before it are committed.
func (tr *trial) exists(version uint64) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for v := uint64(len(tr.commits) + 1); v <= version; v++ {
		tr.commits = append(tr.commits, commit{v, time.Now()})
	}
}

// publish publishes changes as the next version. It returns when the version is committed, and announced and indexed if possible.
func (tr *trial) publish() dataset.VersionRecord {
	tr.t.Helper()
	rec := tr.patch(8)
	tr.known()
	return rec
}

// condition returns nil if the dataset's status in an instance is as wanted.
type condition func(fleet.DatasetStatus) error

// fresh is the condition that the version is served, is the newest and is reported as fresh.
func fresh(version uint64) condition {
	return func(d fleet.DatasetStatus) error {
		if d.Version != version || d.State != fleet.Fresh {
			return fmt.Errorf("it serves version %d and says %s (%s), want version %d and fresh", d.Version, d.State, d.Error, version)
		}
		return nil
	}
}

// saying is the condition that the version is served in the state.
func saying(state fleet.State, version uint64) condition {
	return func(d fleet.DatasetStatus) error {
		if d.Version != version || d.State != state {
			return fmt.Errorf("it serves version %d and says %s (%s), want version %d and %s", d.Version, d.State, d.Error, version, state)
		}
		return nil
	}
}

// serving is the condition that the version is served, whatever the state.
func serving(version uint64) condition {
	return func(d fleet.DatasetStatus) error {
		if d.Version != version {
			return fmt.Errorf("it serves version %d and says %s (%s), want version %d", d.Version, d.State, d.Error, version)
		}
		return nil
	}
}

// await waits until the instances, or all if none is given, fulfil the condition.
func (tr *trial) await(phase string, want condition, instances ...*subject) {
	tr.t.Helper()
	if len(instances) == 0 {
		instances = tr.instances
	}
	for _, i := range instances {
		eventually(tr.t, func(ctx context.Context) error {
			asked := time.Now()
			d, err := i.status(ctx)
			if err == nil {
				err = want(d)
			}
			if err == nil {
				i.says(sample{asked, d}) // it may be over before the next look
			}
			if err != nil {
				err = fmt.Errorf("%s: instance-%d: %w", phase, i.n, err)
			}
			return err
		})
	}
}

// begin marks the start of the fault.
func (tr *trial) begin() {
	tr.began = time.Now()
	tr.t.Logf("the fault begins: %s", tr.fault)
}

// end marks the end of the fault, from which the trial recovers.
func (tr *trial) end() {
	tr.mended = time.Now()
	tr.t.Logf("the fault is over after %v", tr.mended.Sub(tr.began).Round(time.Millisecond))
}

// never fails the test if an instance reported one of the states at any time from since on.
func (tr *trial) never(since time.Time, states ...fleet.State) {
	tr.t.Helper()
	tr.neverSaid(tr.instances, since, states...)
}

func (tr *trial) neverSaid(instances []*subject, since time.Time, states ...fleet.State) {
	tr.t.Helper()
	for _, i := range instances {
		for _, s := range i.samples() {
			if s.asked.After(since) && slices.Contains(states, s.State) {
				tr.t.Errorf("instance-%d says %s of version %d (%s), %v into a time in which that is not true", i.n, s.State, s.Version, s.Error,
					s.asked.Sub(since).Round(time.Millisecond))
				break
			}
		}
	}
}

// healed waits until every instance is fresh again, and checks the invariants of all trials.
func (tr *trial) healed() {
	tr.t.Helper()
	if tr.mended.IsZero() {
		tr.end()
	}
	tr.await("the trial heals", fresh(tr.newest()))
	took := time.Duration(0)
	for _, i := range tr.instances {
		took = max(took, i.healedAt(tr.newest(), tr.mended).Sub(tr.mended))
	}
	took = max(took, tr.others)
	seen := tr.seen() + tr.note
	tr.following()
	tr.compare()
	for _, i := range tr.instances {
		i.unwatched()
		i.check(tr)
	}
	tr.sound()
	for _, i := range tr.instances {
		tr.check(i.program, tr.newest())
	}
	table.add(row{Fault: tr.fault, Heal: took, Seen: seen})
	tr.t.Logf("healed in %v; seen: %s", took.Round(time.Millisecond), seen)
}

// following publishes another version, which must have the next number, and waits until every instance serves it.
func (tr *trial) following() {
	tr.t.Helper()
	last := tr.newest()
	if rec := tr.publish(); rec.Version != last+1 {
		tr.t.Errorf("what follows version %d is version %d", last, rec.Version)
	}
	tr.await("a version follows", fresh(last+1))
}

// sound fails the test unless the store has exactly the versions of the ledger, with no number lost or assigned twice.
func (tr *trial) sound() {
	tr.t.Helper()
	want := tr.newest()
	for page := tr.storedBefore(0); len(page) > 0; page = tr.storedBefore(want + 1) {
		for _, rec := range page {
			if rec.Version != want || rec.State.Records != uint64(len(tr.history[max(want, 1)-1])) {
				tr.t.Fatalf("version %d has %d records, want version %d", rec.Version, rec.State.Records, want)
			}
			want--
		}
		if want == 0 {
			return
		}
	}
	tr.t.Fatalf("version %d and those before it are not there", want)
}

// committedAfter returns the version after v and the time of its commit, if it is known to be committed.
func (tr *trial) committedAfter(v uint64) (c commit, ok bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if v >= uint64(len(tr.commits)) {
		return commit{}, false
	}
	return tr.commits[v], true
}
