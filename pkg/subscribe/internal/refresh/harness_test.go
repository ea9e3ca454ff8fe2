package refresh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// rig is an engine in a synctest bubble whose dependencies the test controls. A dataset in memory is a string.
type rig struct {
	t        *testing.T
	engine   *Engine[string, string]
	versions chan dataset.VersionRecord
	catchUps chan string
	beacons  chan events.Beacons
	entries  chan dataset.Entry
	pins     *fakePins // set before start; nil for an engine without pins
	stop     func()

	// Set before start; nil functions do nothing or succeed.
	load    func(ctx context.Context, rec dataset.VersionRecord, progress func()) error
	reload  func(ctx context.Context, progress func()) error
	stored  map[string]uint64
	finish  func(name string, swapped bool) error
	log     func() (map[string]dataset.VersionRecord, error)
	relay   func(name string) (uint64, error)
	answers func() ([]Answer, error)   // of relays that name their store; in place of relay
	byName  func(name string) []Answer // in place of answers
	silent  func(name string) []string // relays that are up and do not answer
	onSwap  func(now *Served[string])
	// onReplay is called for each replay.
	onReplay func()
	storedE  error
	// storedHang blocks Stored, which ignores its context, until it is closed; nil blocks nothing.
	storedHang chan struct{}
	wall       func() time.Time
	barred     []Barred
	again      chan struct{}
	relaysHang map[string]bool        // datasets about which the relays do not answer
	storedRec  *dataset.VersionRecord // in place of stored

	mu       sync.Mutex
	loads    []string // "prices/3", in the order in which loading began
	failures []Failure
	queried  []string // datasets that the relays were queried about
	lines    []string // other calls of the Watcher
	changes  []Change
	at       []time.Duration
	began    time.Time
}

var config = Config{
	Datasets: []string{"prices"}, Lanes: 2, Stall: time.Minute,
	Retry: Retry{Initial: time.Second, Max: 30 * time.Second},
}

// start runs the rig's engine until the test ends.
func (r *rig) start(cfg Config) {
	r.versions, r.catchUps, r.beacons = make(chan dataset.VersionRecord), make(chan string), make(chan events.Beacons)
	deps := Deps[string, string]{
		Versions: r.versions, CatchUps: r.catchUps, Beacons: r.beacons, Log: r, Relays: relayFunc{r}, Loader: r, Watcher: r,
		Barred: func(string) []Barred { return r.barred }, StoredAgain: r.again,
	}
	if r.pins != nil {
		r.entries = make(chan dataset.Entry)
		deps.Entries, deps.Pins = r.entries, r.pins
	}
	r.engine = New(cfg, deps)
	if r.wall != nil {
		r.engine.clocks = func() (now, wall time.Time) { return time.Now(), r.wall() }
	}
	r.began = time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.engine.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
	synctest.Wait()
}

// bubble runs f with a rig in a bubble; goroutines that outlive the engine's Run make it fail.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t}
		defer func() {
			if r.stop != nil {
				r.stop()
			}
		}()
		f(t, r)
	})
}

// pass advances the bubble's clock and waits until all goroutines block.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func rec(name string, version uint64) dataset.VersionRecord {
	return dataset.VersionRecord{Dataset: name, Version: version}
}

func (r *rig) announce(name string, versions ...uint64) {
	for _, v := range versions {
		r.versions <- rec(name, v)
	}
	synctest.Wait()
}

func (r *rig) serves(name string, want uint64) {
	r.t.Helper()
	var got uint64
	if s := r.engine.Served(name); s != nil {
		got = s.Record.Version
	}
	if got != want {
		r.t.Fatalf("after %s version %d of %s is served, want %d", time.Since(r.began), got, name, want)
	}
}

func (r *rig) loaded() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.loads)
}

func (r *rig) wantLoads(want ...string) {
	r.t.Helper()
	if got := r.loaded(); !slices.Equal(got, want) {
		r.t.Fatalf("loaded %q, want %q", got, want)
	}
}

func (r *rig) reports() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

func (r *rig) failed() []Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.failures)
}

func (r *rig) report(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// The rig is the Loader.

func (r *rig) Stored(_ context.Context, name string, _ func()) (Loaded[string, string], error) {
	if r.storedHang != nil {
		<-r.storedHang
	}
	if r.storedE != nil {
		return Loaded[string, string]{}, r.storedE
	}
	if r.storedRec != nil {
		return Loaded[string, string]{Record: *r.storedRec, Value: "stored"}, nil
	}
	if v := r.stored[name]; v > 0 {
		return Loaded[string, string]{Record: rec(name, v), Value: "stored"}, nil
	}
	return Loaded[string, string]{}, ErrNone
}

func (r *rig) Load(ctx context.Context, rec dataset.VersionRecord, served *Served[string], progress func()) (Loaded[string, string], error) {
	r.mu.Lock()
	r.loads = append(r.loads, rec.ID())
	r.at = append(r.at, time.Since(r.began))
	r.mu.Unlock()
	if r.load != nil {
		if err := r.load(ctx, rec, progress); err != nil {
			return Loaded[string, string]{}, err
		}
	}
	if rec.Deleted && !rec.Dropped {
		return keep(rec, served), nil
	}
	l := Loaded[string, string]{Record: rec, Value: rec.ID(), Pull: Pull{Bytes: 7}}
	if r.finish != nil {
		l.Finish = func(swapped bool) error { return r.finish(rec.Dataset, swapped) }
		l.Abandon = func() { r.report("abandoned %s", rec.ID()) }
	}
	return l, nil
}

func (r *rig) Reload(ctx context.Context, served *Served[string], from uint64, progress func()) (Loaded[string, string], error) {
	r.mu.Lock()
	r.loads = append(r.loads, served.Record.ID()+" again")
	r.mu.Unlock()
	if r.reload != nil {
		if err := r.reload(ctx, progress); err != nil {
			return Loaded[string, string]{}, err
		}
	}
	by := ""
	if from > 0 {
		by = fmt.Sprintf("since %d", from)
	}
	return Loaded[string, string]{Record: served.Record, Value: served.Value + "'", Difference: by, Pull: Pull{Bytes: 9, Full: true}}, nil
}

// The rig is the event log.

func (r *rig) Latest(_ context.Context, _ []string) (map[string]dataset.VersionRecord, error) {
	if r.log == nil {
		return nil, nil
	}
	return r.log()
}

type relayFunc struct{ r *rig }

func (f relayFunc) Latest(ctx context.Context, name string, _ dataset.StoreID) (answers []Answer, silent []string, err error) {
	r := f.r
	if r.silent != nil {
		silent = r.silent(name)
	}
	r.mu.Lock()
	r.queried = append(r.queried, name)
	r.mu.Unlock()
	if r.relaysHang[name] {
		<-ctx.Done()
		return nil, silent, ctx.Err()
	}
	if r.byName != nil {
		return r.byName(name), silent, nil
	}
	if r.answers != nil {
		answers, err = r.answers()
		return answers, silent, err
	}
	if r.relay == nil {
		return []Answer{{}}, silent, nil
	}
	v, err := r.relay(name)
	if err != nil {
		return nil, silent, err
	}
	return []Answer{{Record: rec(name, v)}}, silent, nil
}

// The rig is the Watcher.

func (r *rig) Swapped(before, now *Served[string], _ string) {
	if before != nil && before.Record.Version >= now.Record.Version && now.Record.StoreID.IsZero() {
		r.t.Errorf("swapped %s for %s", before.Record.ID(), now.Record.ID())
	}
	if r.onSwap != nil {
		r.onSwap(now)
	}
}

func (r *rig) Replayed(o Replay, before, now *Served[string], by string) {
	r.report("replayed %s %s: %s -> %s, changes %q", o.ID, now.Record.ID(), before.Value, now.Value, by)
	if r.onReplay != nil {
		r.onReplay()
	}
}

func (r *rig) Failed(f Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, f)
}

func (r *rig) StoredUnusable(name string, err error) { r.report("stored %s unusable: %v", name, err) }
func (r *rig) Finished(name string, err error)       { r.report("finished %s: %v", name, err) }
func (r *rig) Healed(rec dataset.VersionRecord)      { r.report("healed %s", rec.ID()) }
func (r *rig) Changed(c Change)                      { r.changed(c) }
func (r *rig) OtherStore(_, warning string)          { r.report("%s", warning) }
func (r *rig) StoreChanged(was, now dataset.StoreID) { r.report("store %s is now %s", was, now) }
func (r *rig) Rejected(rec dataset.VersionRecord)    { r.report("rejected %s", rec.ID()) }
func (r *rig) Restarted(err error)                   { r.report("restarted: %v", err) }

func (r *rig) CaughtUp(reason string, err error, retry time.Time) {
	if err != nil {
		r.report("%s: %v, again in %s", reason, err, time.Until(retry))
	} else {
		r.report("%s: caught up", reason)
	}
}

func (r *rig) changed(c Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, c)
}

// ctxT keeps the lines of tests short.
type ctxT = context.Context

var errLoad = errors.New("no luck")
