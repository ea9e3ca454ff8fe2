package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// statusEvery is the interval of status queries of an instance under trial, and readEvery the interval of each of its readers.
const (
	statusEvery = 20 * time.Millisecond
	readEvery   = 10 * time.Millisecond
)

// subject is an instance under trial.
type subject struct {
	*program
	n      int
	name   string // of its one dataset
	cache  string
	points failpoints // its own, if it has any

	// asking is held by whoever asks it something, so that a measurement can have the instance to itself.
	asking sync.RWMutex

	mu      sync.Mutex
	seen    []sample            // guarded by mu
	answers map[question]digest // guarded by mu
	down    bool                // killed by the test; guarded by mu
	lives   int                 // how often it was killed; guarded by mu
	floor   uint64              // the version below which it does not come back; guarded by mu

	stop func()
}

// sample is the status of the dataset at one query. It has no State if the instance did not answer.
type sample struct {
	asked time.Time
	fleet.DatasetStatus
}

// watched starts readers and status queries of the instance until unwatched is called.
func (i *subject) watched(tr *trial) {
	ctx, cancel := context.WithCancel(tr.t.Context())
	var running sync.WaitGroup
	i.answers = map[question]digest{}
	for _, each := range []func(){
		func() { i.watch(ctx, tr.t) },
		func() { i.read(ctx, tr, batches(tr.keys)) },
		func() { i.read(ctx, tr, singles(tr.keys)) },
	} {
		running.Go(each)
	}
	i.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	tr.t.Cleanup(i.stop)
}

func (i *subject) unwatched() { i.stop() }

// status queries the dataset's status in the instance.
func (i *subject) status(ctx context.Context) (fleet.DatasetStatus, error) {
	code, _, body, err := do(ctx, http.MethodGet, i.URL+"/v1/status", "", nil)
	if err != nil {
		return fleet.DatasetStatus{}, err
	}
	var all fleet.Status
	if err := json.Unmarshal(body, &all); err != nil || code != http.StatusOK {
		return fleet.DatasetStatus{}, fmt.Errorf("%d %.200s: %v", code, body, err)
	}
	d, ok := all.Dataset(i.name)
	if !ok {
		return d, fmt.Errorf("the status does not tell of %s: %s", i.name, body)
	}
	return d, nil
}

// watch queries the status repeatedly.
func (i *subject) watch(ctx context.Context, t *testing.T) {
	i.again(ctx, statusEvery, func() {
		asked := time.Now()
		var d fleet.DatasetStatus
		if err := i.ask(ctx, func() (err error) { d, err = i.status(ctx); return err }); err != nil {
			t.Errorf("instance-%d does not say how it is: %v", i.n, err)
		}
		if d.State != "" {
			if err := consistent(d); err != nil {
				t.Errorf("instance-%d contradicts itself: %v", i.n, err)
			}
		}
		i.says(sample{asked, d})
	})
}

// says records a sample.
func (i *subject) says(s sample) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen = append(i.seen, s)
}

// consistent returns an error if the status contradicts itself.
func consistent(d fleet.DatasetStatus) error {
	bad := ""
	switch {
	case !slices.Contains(fleet.States[:], d.State):
		bad = "there is no such state"
	case d.State == fleet.Failing && d.Error == "":
		bad = "it does not say why"
	case d.State == fleet.Fresh && (d.Version == 0 || d.Version < d.Newest):
		bad = "that is not the newest"
	case (d.State == fleet.Lagging || d.State == fleet.Refreshing) && d.Newest <= d.Version:
		bad = "there is no newer one"
	case d.State == fleet.Waiting && d.Version > 0:
		bad = "it has one"
	case d.State == fleet.Overdue && d.ExpectEvery == 0:
		bad = "nothing was promised"
	case d.Version < d.Newest && d.BehindSince.IsZero():
		bad = "it does not say since when it is behind"
	case d.AgeSeconds < 0:
		bad = "its age is negative"
	case d.Since.IsZero():
		bad = "it does not say since when"
	}
	if bad != "" {
		return fmt.Errorf("it says %s, version %d, newest %d: %s: %+v", d.State, d.Version, d.Newest, bad, d)
	}
	return nil
}

// again calls f at the interval until ctx ends.
func (i *subject) again(ctx context.Context, every time.Duration, f func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			i.asking.RLock()
			f()
			i.asking.RUnlock()
		}
	}
}

// ask calls f and returns its error, unless the instance was down during the call or the test has ended.
func (i *subject) ask(ctx context.Context, f func() error) error {
	down, life := i.life()
	err := f()
	if err == nil {
		return nil
	}
	if downNow, now := i.life(); down || downNow || now != life || ctx.Err() != nil {
		return nil
	}
	return err
}

// life returns whether the instance is down, and how often it has been down.
func (i *subject) life() (down bool, lives int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.down, i.lives
}

// kill ends the instance with SIGKILL. The instance must restart with the version in its cache folder.
func (i *subject) kill() { i.ends(i.Kill) }

// terminate ends the instance with SIGTERM, as kill does with SIGKILL.
func (i *subject) terminate() { i.ends(i.Stop) }

func (i *subject) ends(how func()) {
	i.mu.Lock()
	i.down = true
	i.lives++
	i.mu.Unlock()
	how()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.floor = inCache(i.cache, i.name)
}

// comesBackWith allows the instance, which is down, to restart with the version or none, because the test has changed its cache
// folder.
func (i *subject) comesBackWith(version uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.floor = version
}

// start restarts the instance.
func (i *subject) start() {
	i.Start()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = false
}

// samples returns the samples so far.
func (i *subject) samples() []sample {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.seen)
}

// healedAt returns when, after the time, the instance was first seen to serve the version, report to be fresh and stay so.
func (i *subject) healedAt(version uint64, after time.Time) time.Time {
	at := time.Now()
	for _, s := range slices.Backward(i.samples()) {
		if s.asked.Before(after) || s.Version != version || s.State != fleet.Fresh {
			break
		}
		at = s.asked
	}
	return at
}

// servedAt returns when the instance was first seen to serve the version or a later one; zero if never.
func (i *subject) servedAt(version uint64) time.Time {
	for _, s := range i.samples() {
		if s.Version >= version {
			return s.asked
		}
	}
	return time.Time{}
}

// check compares the instance's answers and statuses with the committed versions.
func (i *subject) check(tr *trial) {
	tr.t.Helper()
	i.checkAnswers(tr)
	var since time.Time // since when it says fresh, and is not
	for _, s := range i.samples() {
		newer, ok := tr.committedAfter(s.Version)
		if s.State != fleet.Fresh || !ok || s.asked.Before(newer.at) {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = s.asked
		}
		if s.asked.Sub(since) > blindAfter+late {
			tr.t.Errorf("instance-%d said for %v that version %d is fresh, and version %d was committed", i.n, s.asked.Sub(since), s.Version, newer.version)
			return
		}
	}
}

// inCache returns the version of the dataset in the cache folder, 0 for none.
func inCache(folder, name string) uint64 {
	var rec dataset.VersionRecord
	path := filepath.Join(folder, name, "version.json")
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() { // a pipe hangs
		return 0
	}
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &rec) != nil {
		return 0
	}
	return rec.Version
}
