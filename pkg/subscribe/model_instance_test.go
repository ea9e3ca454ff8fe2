package subscribe_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
)

// member is an instance of the model's fleet, across its restarts.
type member struct {
	m    *model
	n    int
	line *proxy // to NATS
	dir  string // its cache folder; empty if it has none
	cut  bool   // its line to NATS is

	*life
	gate sync.Mutex // locked while the second callback is held up
	held bool

	kept    []servedTable // that a reader holds on to
	at      int           // the exchanges of the store when it last settled
	flipped atomic.Bool   // a bit of the cache folder was
	shared  atomic.Bool   // two lives have the cache folder: one of them cannot write
}

// life is an instance from a start to its end.
type life struct {
	s       *subscribe.Subscriber
	view    *subscribe.View[string]
	mirrors [2]*mirror // of two callbacks, the second of which is held up at times

	ended   chan struct{} // is closed to end the reader
	over    bool          // it is
	readers sync.WaitGroup

	mu   sync.Mutex // guards seen
	seen []sighting // the versions that were swapped in
	base int        // the exchanges of the store when the instance last settled before this life
}

// sighting is a version as a callback saw it.
type sighting struct {
	version uint64
	id      dataset.VersionID
	sums    sums // recomputed from all records
}

func (i *member) config() subscribe.Config {
	cfg := i.m.world.config(i.m.name)
	cfg.Instance, cfg.CacheDir, cfg.NATS = fmt.Sprint("i", i.n), i.dir, i.line.url
	// What the cache folder keeps besides the newest version differs with it.
	cfg.ConfirmAfter = []time.Duration{time.Nanosecond, 50 * time.Millisecond, time.Minute}[i.n%3]
	cfg.NATSOptions = []nats.Option{nats.CustomReconnectDelay(func(int) time.Duration { return 5 * time.Millisecond })}
	fail := func(what string, err error) {
		if err != nil {
			i.m.t.Errorf("instance %d: %s: %v", i.n, what, err)
		}
	}
	// No operation of the model may cause any of these.
	cfg.Observer = subscribe.Observer{
		Swapped: func(r subscribe.Refresh) {
			if !i.m.gaps.Load() || !errors.Is(r.Fallback, pull.ErrNotFound) {
				fail("a refresh pulled the snapshot instead of deltas", r.Fallback)
			}
		},
		CacheFailed: func(f subscribe.CacheFailure) {
			err := f.Err
			if i.flipped.Load() && (errors.Is(err, snapshot.ErrCorrupt) || errors.Is(err, snapshot.ErrFormat)) {
				return
			}
			if !i.shared.Load() || !strings.Contains(err.Error(), "in use by another process") {
				fail("the cache folder failed", err)
			}
		},
		CallbackFailed: func(f subscribe.CallbackFailure) { fail("a callback failed", f.Err) },
		Restarted:      func(r subscribe.Restart) { fail("the refreshing goroutine failed", r.Err) },
	}
	return cfg
}

func (i *member) start() {
	t := i.m.t
	t.Helper()
	s, err := subscribe.Open(t.Context(), i.config())
	if err != nil {
		t.Fatal(err)
	}
	l := &life{s: s, base: i.at, mirrors: [2]*mirror{{t: t}, {t: t}}, ended: make(chan struct{})}
	i.life = l
	for n, m := range l.mirrors {
		var told *table.Table
		if _, err := handle(s, i.m.name).OnSwap(func(swap subscribe.Swap) {
			if swap.Old != told || swap.Record.Version != swap.New.Version() || !swap.Full && swap.Old == nil {
				t.Errorf("instance %d: callback %d was told of a swap that does not follow on the one before: %+v", i.n, n, swap)
			}
			told = swap.New
			if n == 1 {
				i.gate.Lock()
				defer i.gate.Unlock()
			} else {
				l.see(swap)
			}
			m.swap(swap)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if l.view, err = subscribe.NewView(handle(s, i.m.name), func(_, v []byte) (string, error) { return string(v), nil }, subscribe.Eager()); err != nil {
		t.Fatal(err)
	}
	l.readers.Go(func() { i.read(l) })
}

// read looks records up all the time, whatever the instance is at.
func (i *member) read(l *life) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-l.ended:
			return
		}
		key := i.m.keys[n*7919%len(i.m.keys)] // a prime: all of them, in some order
		value, ok, err := l.view.Get(key)
		if err != nil && !errors.Is(err, subscribe.ErrNoVersion) || ok && !strings.HasPrefix(value, `{"id":`) {
			i.m.t.Errorf("instance %d: a reader got %.80q, %v for %.80q", i.n, value, err, key)
		}
		if tab := handle(l.s, i.m.name).Table(); tab != nil {
			if value, ok := tab.GetString(key); ok && !bytes.HasPrefix(value, []byte(`{"id":`)) {
				i.m.t.Errorf("instance %d: a reader got %.80q for %.80q of version %d", i.n, value, key, tab.Version())
			}
		}
	}
}

func (l *life) see(swap subscribe.Swap) {
	t := swap.New
	s := sighting{t.Version(), swap.ID, sumOf(dataset.Seed(t.Seed()), t.All())}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, s)
}

func (i *member) stop() {
	i.m.t.Helper()
	i.hold(false)
	if err := i.s.Close(); err != nil {
		i.m.t.Error(err)
	}
	if !i.over {
		i.over = true
		close(i.ended)
	}
	i.readers.Wait()
	i.checkSeen()
}

// hold holds the second callback up, or lets it go on.
func (i *member) hold(on bool) {
	switch {
	case on && !i.held:
		i.gate.Lock()
	case !on && i.held:
		i.gate.Unlock()
	}
	i.held = on
}

// sleep cuts the line to NATS, or mends it.
func (i *member) sleep(on bool) {
	switch {
	case on && !i.cut:
		i.line.cut()
	case !on && i.cut:
		i.line.mend()
	}
	i.cut = on
}

// restart ends the instance and starts it again, with its cache folder or without.
func (i *member) restart(keep bool) {
	i.m.t.Helper()
	i.stop()
	if !keep && i.dir != "" {
		if err := os.RemoveAll(i.dir); err != nil {
			i.m.t.Fatal(err)
		}
	}
	i.start()
}

// replace starts the instance again while it still runs, as the next release of a service is, with the same cache
// folder, and ends the one from before after during.
func (i *member) replace(during func()) {
	i.m.t.Helper()
	i.hold(false)
	i.shared.Store(true)
	before := i.life
	i.start()
	during()
	now := i.life
	i.life = before
	i.stop()
	i.life = now
	// The new one then continues the files that the old one has kept, or starts with none.
	i.sleep(false)
	for n := len(i.m.history); len(i.m.history) == n; {
		i.m.patch()
	}
	await(i.m.t, "the next version to be kept", func() bool {
		d, _ := i.s.Status().Dataset(i.m.name)
		return d.Version == i.m.newest().Version && warningOf(i.m.t, i.s, i.m.name) == ""
	})
	i.shared.Store(false)
}

// kill goes on as an instance that was killed at a moment while during ran: from the cache folder as it lay then. What
// lay there is first served alone, with NATS and the relays out of reach.
func (i *member) kill(during func()) {
	t := i.m.t
	t.Helper()
	to := filepath.Join(t.TempDir(), "killed")
	left, turns := 1+i.m.r.IntN(6), i.m.r.IntN(200)
	over, frozen := make(chan struct{}), make(chan error, 1)
	go func() { frozen <- freeze(i.dir, to, left, turns, over) }()
	during()
	close(over)
	if err := <-frozen; err != nil {
		t.Fatalf("copy the cache folder: %v", err)
	}
	i.stop()
	i.dir = to
	_, err := os.Stat(filepath.Join(to, i.m.name, "version.json"))
	if err == nil {
		i.wakeAlone()
	}
	i.start()
}

// wakeAlone serves the version in the cache folder, with all servers down.
func (i *member) wakeAlone() {
	t := i.m.t
	t.Helper()
	cfg := i.config()
	nobody := newProxy(t, "")
	nobody.cut()
	cfg.NATS, cfg.Relays = nobody.url, []string{"http" + nobody.url[len("nats"):]}
	s, err := subscribe.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(i.m.context()); err != nil {
		t.Fatalf("instance %d cannot serve from the cache folder after it was killed: %v", i.n, err)
	}
	v, _ := serves(s, i.m.name)
	i.m.note("  instance %d was killed with version %d in its cache folder", i.n, v.table.Version())
	i.m.check(fmt.Sprintf("instance %d after it was killed", i.n), v)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// freeze copies a cache folder as it lies at one moment: after left changes of which files are there and some turns
// more, or when it is over.
func freeze(from, to string, left, turns int, over <-chan struct{}) error {
	look := func() string {
		var seen bytes.Buffer
		paths, _ := filepath.Glob(filepath.Join(from, "*", "*"))
		for _, path := range paths {
			fmt.Fprintln(&seen, path)
			if filepath.Base(path) == "version.json" {
				text, _ := os.ReadFile(path)
				seen.Write(text)
			}
		}
		return seen.String()
	}
	for was := look(); left > 0 || turns > 0; {
		select {
		case <-over:
			left, turns = 0, 0
			continue
		default:
		}
		switch now := look(); {
		case left == 0:
			turns--
		case now != was:
			was = now
			left--
		}
	}
	if _, err := os.Stat(from); os.IsNotExist(err) {
		return os.MkdirAll(to, 0o700) // nothing was ever kept
	}
	// The files that have a name do not change, so that the copy is of one moment if the names are the same after it.
	for {
		was := look()
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := os.CopyFS(to, os.DirFS(from)); err == nil && look() == was {
			return nil
		} else if err != nil && look() == was && !os.IsNotExist(err) {
			return err
		}
	}
}

// checkSeen checks that only complete versions were swapped in, in order except where the store was exchanged.
func (i *member) checkSeen() {
	t := i.m.t
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	last, moves := uint64(0), 0
	for n, s := range i.seen {
		want, ok := i.m.known[s.id]
		if !ok || want.number != s.version {
			t.Errorf("instance %d served version %d with id %s, which is that of version %d", i.n, s.version, s.id, want.number)
			continue
		}
		// A life may begin with a version that the life before had left: the folder is written after the swap.
		if s.version <= last && n != 1 {
			moves++
		}
		last = s.version
		if s.sums != want.sums {
			t.Errorf("instance %d served version %d as %+v, want %+v", i.n, s.version, s.sums, want.sums)
		}
	}
	if exchanges := i.m.exchanges - i.base; moves > exchanges {
		t.Errorf("instance %d went down or sideways %d times, and the store was exchanged %d times: %+v", i.n, moves, exchanges, i.seen)
	}
}

// settle waits until the instance serves rec and all that follows it, and checks every record of it.
func (i *member) settle(rec dataset.VersionRecord) {
	t := i.m.t
	t.Helper()
	i.hold(false)
	i.sleep(false)
	who := fmt.Sprintf("instance %d", i.n)
	id := rec.VersionID()
	await(t, fmt.Sprintf("%s to serve version %s", who, rec.Ref()), func() bool { return handle(i.s, i.m.name).VersionID() == id })
	v, _ := i.serves()
	tab := v.table
	got, _ := handle(i.s, i.m.name).Version()
	if tab.Version() != rec.Version || tab.State() != rec.State || fmt.Sprint(got) != fmt.Sprint(rec) {
		t.Fatalf("%s serves version %d, %v: %+v; want %+v", who, tab.Version(), tab.State(), got, rec)
	}
	i.m.check(who, v)
	await(t, who+"'s view", func() bool { return i.view.Version() == rec.Version })
	for _, key := range i.m.keys {
		want, has := i.m.all[key]
		if v, ok, err := i.view.Get(key); v != want || ok != has || err != nil {
			t.Fatalf("%s: the view has %q, %v, %v for %q; want %q, %v", who, v, ok, err, key, want, has)
		}
	}
	for n, mirror := range i.mirrors {
		await(t, fmt.Sprintf("%s's callback %d", who, n), func() bool { return mirror.at() == rec.Version })
		if !maps.Equal(mirror.all, i.m.all) {
			t.Fatalf("%s: what the changes led to in callback %d is not version %d", who, n, rec.Version)
		}
	}
	i.checkSeen()
	if i.m.r.IntN(3) == 0 {
		i.kept = append(i.kept, v)
	}
	i.at = i.m.exchanges
}
