package subscribe_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
)

// modelSeeds is the environment variable that names the seeds of TestModel.
const modelSeeds = "MODEL_SEEDS"

// Invariant: whatever is published, patched, rolled back and compacted, whoever dies on the way and is started again,
// what each instance serves is what a map holds that had the same done to it: every record byte for byte, with the sums
// of the version record; no version is missing or there twice; and what views and the changes of swaps lead to is the
// same.
//
// A seed is one random life of a dataset: publishers that live and publishers that die between any two of their steps,
// compactions at any moment and cut short, three instances that are stopped, killed in the middle of a refresh, or cut
// off from NATS for many versions, servers that are killed. Everything goes over a real nats-server, a real
// redis-server and HTTP. The store is a folder; of every fourth seed it is in a real S3 server.
//
// By default a few seeds are run. MODEL_SEEDS names others, the first and the last of them:
//
//	MODEL_SEEDS=1-200 go test -race -timeout 2h -run 'TestModel$' ./pkg/subscribe
//
// What a seed does is always the same, when the goroutines do it is not. A seed that fails is run alone by
// MODEL_SEEDS=17-17.
func TestModel(t *testing.T) {
	first, last := uint64(4), uint64(9)
	if testing.Short() {
		last = 6
	}
	if text := os.Getenv(modelSeeds); text != "" {
		if n, err := fmt.Sscanf(text, "%d-%d", &first, &last); n != 2 || err != nil || first > last {
			t.Fatalf("%s is %q, want the first and the last seed, as in 1-200", modelSeeds, text)
		}
	}
	for seed := first; seed <= last; seed++ {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { newModel(t, seed).live() }) {
			t.Errorf("run seed %d alone: %s=%d-%d go test -race -run 'TestModel$' ./pkg/subscribe", seed, modelSeeds, seed, seed)
		}
	}
}

// model is a dataset, all that is around it, and the map that it is held against.
type model struct {
	*world
	*universe
	t          *testing.T
	name       string
	folder     string               // of the store's objects, in the end
	bucket     *servertest.S3Server // that the folder is in; nil if it is in none
	redis      *servertest.RedisServer
	catalog    *catalog.Catalog
	publishing publish.Config
	publishers []*publish.Publisher // those that live on
	members    []*member
	beside     sync.WaitGroup // compactions that run beside the rest

	seed     dataset.Seed
	all      records                       // what the newest version holds
	history  []records                     // of the store, by version, from 1
	sums     []sums                        // of history
	known    map[dataset.VersionID]version // all that were ever committed, in stores that were exchanged too
	mixed    bool                          // the event log has events of other histories or stores, too
	logLost  bool                          // the event log was
	gaps     atomic.Bool                   // a delta from before a snapshot was lost: who comes from before it loads the snapshot
	untold   bool                          // the newest version may not have been announced and indexed
	tolerant bool                          // publishes may warn: the event log or the catalog have versions of another history

	exchanges int     // of the store, and other reasons to serve a version that is not above the one before
	backup    *backup // of the store; nil if there is none
	silence   func()  // ends the beacons; nil as long as there are none
	folders   int     // made for stores
	steps     int
	began     time.Time
}

// version is a version that was committed.
type version struct {
	number  uint64
	content records
	sums    sums
}

// servedTable is a table with the id of its version.
type servedTable struct {
	id    dataset.VersionID
	table *table.Table
}

// serves returns what the instance serves; ok is false if it serves nothing.
func (i *member) serves() (v servedTable, ok bool) { return serves(i.s, i.m.name) }

func serves(s *subscribe.Subscriber, name string) (v servedTable, ok bool) {
	for {
		v = servedTable{handle(s, name).VersionID(), handle(s, name).Table()}
		if v.table == nil {
			return v, false
		}
		if handle(s, name).VersionID() == v.id { // an id is served once in a life
			return v, true
		}
	}
}

func newModel(t *testing.T, n uint64) *model {
	t.Helper()
	cryptotest.SetGlobalRandom(t, n) // the seed of the dataset's hash is drawn from it
	r := rand.New(rand.NewPCG(n, 2))
	m := &model{t: t, world: newWorld(t), universe: newUniverse(r), name: "prices", redis: servertest.Redis(t), began: time.Now()}
	m.known = map[dataset.VersionID]version{}
	m.folder = strings.TrimPrefix(m.store.String(), "dir://")
	if n%4 == 0 {
		m.inBucket()
	}
	rdb, err := catalog.Connect(m.redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	m.catalog = catalog.New(rdb, "")
	m.publishing = publish.Config{
		TempDir: t.TempDir(), Workers: 2, MaxDeltas: []int{1, 2, 3, 5, 8, 32}[r.IntN(6)], MaxDeltaPercent: []int{0, 5, 100}[r.IntN(3)],
	}
	m.startPublishers()
	m.did("%d keys, values of %d bytes; %d deltas at the most, %d %% of the snapshot", len(m.keys), m.value, m.publishing.MaxDeltas,
		m.publishing.MaxDeltaPercent)
	return m
}

// startPublishers starts the publishers that live on.
func (m *model) startPublishers() {
	m.publishers = nil
	for range 2 {
		m.publishers = append(m.publishers, m.publisher("original", publish.Deps{Store: m.store, Events: m.world.log, Catalog: m.catalog}))
	}
}

// inBucket has the store in an S3 bucket instead of a folder.
func (m *model) inBucket() {
	m.t.Helper()
	m.bucket = servertest.S3(m.t)
	m.open(m.newFolder())
}

// did says what is done next; it is read when the test fails.
func (m *model) did(format string, args ...any) {
	m.steps++
	m.t.Logf("%5.2fs %d. %s", time.Since(m.began).Seconds(), m.steps, fmt.Sprintf(format, args...))
}

func (m *model) note(format string, args ...any) { m.t.Logf(format, args...) }

// live lives one life.
func (m *model) live() {
	m.publishAll()
	m.note("the hash's seed is %x", uint64(m.seed))
	for n := range 3 {
		i := &member{m: m, n: n + 1, line: newProxy(m.t, m.nats.URL)}
		if n > 0 { // the first has no cache folder
			i.dir = filepath.Join(m.t.TempDir(), "cache")
		}
		m.members = append(m.members, i)
		i.start()
	}
	defer func() { // should the test fail on the way
		m.beside.Wait()
		for _, i := range m.members {
			if i.life != nil {
				i.stop()
			}
		}
	}()
	for range 50 {
		m.step()
		if m.t.Failed() {
			return
		}
	}
	m.settle(true)
	m.checkHistory()
	for _, i := range m.members {
		i.restart(i.n == 2)
		i.settle(m.newest())
		i.stop()
		for _, k := range i.kept { // later versions that share its memory have not changed it
			m.check(fmt.Sprintf("a reader of instance %d", i.n), k)
		}
	}
	if left, err := filepath.Glob(filepath.Join(m.publishing.TempDir, "*")); err != nil || len(left) > 0 {
		m.t.Errorf("publishers left %q: %v", left, err)
	}
}

// step does one random thing.
func (m *model) step() {
	i := m.members[m.r.IntN(len(m.members))]
	if m.r.IntN(identityEvery) == 0 {
		m.identityStep(i)
		return
	}
	switch n := m.r.IntN(100); {
	case n < 26:
		m.patch()
	case n < 33:
		m.publishAll()
	case n < 37:
		m.rollback()
	case n < 39:
		m.again()
	case n < 41:
		m.refused()
	case n < 44:
		m.race()
	case n < 56:
		m.crash()
	case n < 66:
		m.compact()
	case n < 70:
		m.did("restart instance %d with its cache folder", i.n)
		i.restart(true)
	case n < 72:
		m.did("restart instance %d without a cache folder", i.n)
		i.restart(false)
	case n < 74:
		m.did("the next release of instance %d starts while this goes on:", i.n)
		i.replace(m.bustle)
	case n < 82:
		if i.dir == "" {
			return
		}
		m.did("kill instance %d while this goes on:", i.n)
		i.kill(m.bustle)
	case n < 87:
		m.did("instance %d loses its line to NATS: %v", i.n, !i.cut)
		i.sleep(!i.cut)
	case n < 89:
		m.did("a callback of instance %d is held up: %v", i.n, !i.held)
		i.hold(!i.held)
	case n < 91:
		m.relayDown()
	case n < 92:
		m.did("nats-server is killed and started")
		m.nats.Kill()
		m.nats.Start()
		m.untold = true // it acknowledges an event before its disk has it
	case n < 93:
		m.did("redis-server is wiped")
		m.redis.Wipe()
		m.untold = true
	case n < 94:
		m.loseLog()
	case n < 96:
		m.lose()
	default:
		m.settle(false)
	}
}

// loseLog deletes the event log.
func (m *model) loseLog() {
	m.t.Helper()
	m.did("the event log is lost")
	js, err := jetstream.New(m.nc)
	if err == nil {
		err = js.DeleteStream(m.context(), "FRESHET")
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		m.t.Fatal(err)
	}
	m.logLost, m.untold = true, true
}

// bustle is a few versions.
func (m *model) bustle() {
	for range 1 + m.r.IntN(4) {
		switch m.r.IntN(4) {
		case 0:
			m.publishAll()
		case 1:
			m.crash()
		default:
			m.patch()
		}
	}
}

// relayDown stops the relay for some versions.
func (m *model) relayDown() {
	m.did("the relay is down while this goes on:")
	m.relay.stop()
	m.bustle()
	m.relay.restart()
}

// settle brings everybody to the newest version and checks all. Who is cut off from NATS may stay so.
func (m *model) settle(everybody bool) {
	m.t.Helper()
	m.beside.Wait()
	if m.untold {
		// Whoever publishes next completes what was not announced.
		if m.r.IntN(2) == 0 {
			m.patch()
		}
		m.again()
	}
	rec := m.newest()
	if rec.Version != uint64(len(m.history)) {
		m.t.Fatalf("the newest is %d, want %d", rec.Version, len(m.history))
	}
	m.did("settle on version %d: %d records, snapshot of %d, %d deltas", rec.Version, len(m.all), rec.Snapshot.Version, len(rec.Deltas))
	m.checkTold(rec)
	for _, i := range m.members {
		if v, ok := i.serves(); ok && i.cut && !everybody && m.r.IntN(2) == 0 {
			m.check(fmt.Sprintf("instance %d, which is cut off", i.n), v)
			continue
		}
		i.settle(rec)
	}
}

// check holds a table against the map of its version.
func (m *model) check(who string, v servedTable) {
	m.t.Helper()
	tab := v.table
	committed, ok := m.known[v.id]
	if !ok || committed.number != tab.Version() {
		m.t.Fatalf("%s serves version %d with id %s, which is that of version %d", who, tab.Version(), v.id, committed.number)
	}
	want := committed.content
	if got, want := (sums{tab.State(), uint64(tab.PayloadBytes())}), committed.sums; got != want || uint64(tab.Len()) != want.state.Records {
		m.t.Fatalf("%s: version %d is %+v of %d records; want %+v", who, tab.Version(), got, tab.Len(), want)
	}
	for _, key := range m.keys {
		line, has := want[key]
		if value, ok := tab.GetString(key); ok != has || string(value) != line {
			m.t.Fatalf("%s: version %d has %.80q, %v for %.80q; want %.80q, %v", who, tab.Version(), value, ok, key, line, has)
		}
	}
	keys, values := make([][]byte, len(m.keys)), make([][]byte, len(m.keys))
	for i, key := range m.keys {
		keys[i] = []byte(key)
	}
	if found := tab.GetMany(keys, values); found != len(want) {
		m.t.Fatalf("%s: of version %d %d records were got at once, want %d", who, tab.Version(), found, len(want))
	}
	for i, key := range m.keys {
		if line, has := want[key]; (values[i] != nil) != has || string(values[i]) != line {
			m.t.Fatalf("%s: version %d has %.80q for %.80q got with others; want %.80q, %v", who, tab.Version(), values[i], key, line, has)
		}
	}
	n := 0
	for key, value := range tab.All() {
		n++
		if line, has := want[string(key)]; !has || line != string(value) {
			m.t.Fatalf("%s: version %d yields %.80q with %.80q; want %.80q, %v", who, tab.Version(), key, value, line, has)
		}
	}
	if n != len(want) {
		m.t.Fatalf("%s: version %d yields %d records, want %d", who, tab.Version(), n, len(want))
	}
}
