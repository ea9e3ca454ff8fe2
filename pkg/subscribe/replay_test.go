package subscribe_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// replay makes the only instance replay, and returns its outcome.
func (w *world) replay(q fleet.ReplayRequest) fleet.ReplayOutcome {
	w.t.Helper()
	return w.replayWith(fleet.ReplayOptions{Request: q, Wait: patience, Silence: patience, Instances: w.surveyed(1)})
}

func (w *world) replayWith(opts fleet.ReplayOptions) fleet.ReplayOutcome {
	w.t.Helper()
	if opts.Request.Dataset == "" {
		opts.Request.Dataset = "prices"
	}
	all, err := fleet.Replay(w.context(), w.nc, opts)
	if err != nil || len(all) != 1 {
		w.t.Fatalf("%+v, %v", all, err)
	}
	return all[0]
}

// wantState fails the test unless the outcome has the state, and an error with the text.
func wantState(t *testing.T, o fleet.ReplayOutcome, state fleet.ReplayState, text string) {
	t.Helper()
	if o.State != state || !strings.Contains(o.Error, text) || text == "" && o.Error != "" {
		t.Errorf("the replay of %s is %s: %q, want %s: %q", o.Instance, o.State, o.Error, state, text)
	}
}

// changed returns the swap's changes, as "+key=value", "~key=old/new" and "-key".
func changed(s subscribe.Swap) (all []string) {
	for c := range s.Changes() {
		switch c.Op {
		case subscribe.Added:
			all = append(all, "+"+string(c.Key)+"="+string(c.New))
		case subscribe.Changed:
			all = append(all, "~"+string(c.Key)+"="+string(c.Old)+"/"+string(c.New))
		case subscribe.Removed:
			all = append(all, "-"+string(c.Key))
		}
	}
	slices.Sort(all)
	return all
}

// swaps registers a callback that passes its swaps on.
func swaps(t *testing.T, d *subscribe.Dataset) chan subscribe.Swap {
	t.Helper()
	all := make(chan subscribe.Swap, 100)
	if _, err := d.OnSwap(func(s subscribe.Swap) { all <- s }); err != nil {
		t.Fatal(err)
	}
	return all
}

// A replay calls callbacks again with all records and rebuilds eager views, pulls nothing, and is not repeated for a repeated request.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	book := &logbook{}
	cfg := w.config("prices")
	cfg.Log = book.logger()
	s := open(t, cfg)
	d := handle(s, "prices")
	got := swaps(t, d)
	var decoded atomic.Int64
	view, err := subscribe.NewView(d, func(_, value []byte) (string, error) { decoded.Add(1); return string(value), nil }, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, w.replay(fleet.ReplayRequest{ID: "early"}), fleet.ReplayRefused, "no version of prices is served yet")
	w.publish("prices", 1)
	<-got
	rec := w.publish("prices", 2)
	if swap := <-got; swap.Replayed {
		t.Error("a new version is a replay")
	}
	await(t, "the view", func() bool { return view.Version() == 2 })
	table, pulls, before := d.Table(), w.relay.objects.Load(), decoded.Load()

	q := fleet.ReplayRequest{ID: "r-1", Version: 2, VersionID: rec.VersionID(), By: "ann", Reason: "stale derived data"}
	o := w.replay(q)
	wantState(t, o, fleet.ReplayDone, "")
	if o.Version != 2 || o.ID != rec.VersionID() || o.Callbacks != 2 || o.Full || o.PulledBytes != 0 || o.Duration <= 0 || o.Repeated {
		t.Errorf("%+v", o.ReplayReport)
	}
	swap := <-got
	if !swap.Replayed || swap.Old != nil || swap.New != table || swap.ID != rec.VersionID() || len(changed(swap)) != 20 || changed(swap)[0] != "+key0=2" {
		t.Errorf("the callback got %+v, %v", swap, changed(swap))
	}
	if n := decoded.Load() - before; n != 20 {
		t.Errorf("the view decoded %d records, want 20", n)
	}
	again := w.replay(q)
	wantState(t, again, fleet.ReplayDone, "")
	first := o.ReplayReport
	if first.Repeated = true; again.ReplayReport != first || len(got) != 0 {
		t.Errorf("a repeated request is answered with %+v, and with %d calls", again.ReplayReport, len(got))
	}
	if w.relay.objects.Load() != pulls || d.Table() != table {
		t.Error("the replay pulled")
	}
	wantState(t, w.replay(fleet.ReplayRequest{ID: "r-1", Full: true}), fleet.ReplayRefused, "the request id r-1 is that of another replay")
	wantState(t, w.replay(fleet.ReplayRequest{ID: "r-2", Version: 1}), fleet.ReplayRefused, "version 2 is served, and not version 1")
	wantState(t, w.replay(fleet.ReplayRequest{ID: "r-3", Dataset: "rules"}), fleet.ReplayRefused, `unknown dataset "rules"; Config.Datasets has prices`)
	if !book.has("replayed the version") || !book.has("by=ann") || len(got) != 0 {
		t.Error("the log does not have the replay, or a refused replay called back")
	}
	w.publish("prices", 3)
	if swap := <-got; swap.Replayed || swap.Old != table || changed(swap)[0] != "~key0=2/3" {
		t.Errorf("after the replay the callback got %+v", swap)
	}
}

// A full replay pulls every object of the version again, while lookups go on, and puts the fresh files into the cache folder.
func TestFullReplay(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	s := open(t, cfg)
	d := handle(s, "prices")
	got := swaps(t, d)
	p := &pipeline{w: w, name: "prices"}
	content := records{} // of which a delta is a small part, so that the files in the cache folder are those of the record
	for i := range 500 {
		content[fmt.Sprint("key", i)] = fmt.Sprint("first ", i*i*i)
	}
	w.announce(p.commit(content, true, 8))
	<-got
	content["key1"] = "2"
	rec := p.commit(content, false, 8)
	w.announce(rec)
	<-got
	var cached string
	await(t, "the version in the cache folder", func() bool {
		cached = ""
		for _, path := range files(t, cfg.CacheDir) {
			if strings.Contains(path, rec.Snapshot.Digest.String()) {
				cached = path
			}
		}
		held, err := os.ReadFile(filepath.Join(cfg.CacheDir, "prices", "version.json"))
		return err == nil && cached != "" && strings.Contains(string(held), rec.Deltas[0].Digest.String())
	})
	if err := os.WriteFile(cached, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := d.Table()
	gate, reached := make(chan struct{}), make(chan struct{}, 10)
	w.relay.fail(func(http.ResponseWriter, *http.Request) bool { reached <- struct{}{}; <-gate; return false })
	outcome := make(chan fleet.ReplayOutcome, 1)
	instances := w.surveyed(1)
	go func() {
		all, err := fleet.Replay(w.context(), w.nc, fleet.ReplayOptions{Request: fleet.ReplayRequest{ID: "r", Dataset: "prices", Full: true}, Instances: instances, Silence: patience})
		if err != nil || len(all) != 1 {
			t.Errorf("%+v, %v", all, err)
			all = make([]fleet.ReplayOutcome, 1)
		}
		outcome <- all[0]
	}()
	<-reached
	if value, ok, err := d.Get("key1"); string(value) != "2" || !ok || err != nil || d.Table() != old {
		t.Errorf("during the replay a lookup has %q, %v, %v", value, ok, err)
	}
	wantState(t, w.replay(fleet.ReplayRequest{ID: "other", Full: true}), fleet.ReplayRefused, "another replay of prices is loading it")
	close(gate)
	o := <-outcome
	wantState(t, o, fleet.ReplayDone, "")
	bytes := rec.Snapshot.Bytes + rec.Deltas[0].Bytes
	if !o.Full || o.PulledBytes != bytes || o.Deltas != 1 || o.Callbacks != 1 {
		t.Errorf("%+v, want %d bytes", o.ReplayReport, bytes)
	}
	swap := <-got
	if d.Table() == old || swap.New != d.Table() || !swap.Replayed || swap.Old != nil || d.Table().Version() != 2 || len(changed(swap)) != 500 {
		t.Errorf("the table was not replaced, or the callback got %+v", swap)
	}
	st := statusOf(t, s, "prices")
	if !st.LastPull.Full || st.LastPull.Bytes != bytes || st.Refreshes.Full != 2 || st.Error != "" {
		t.Errorf("%+v", st)
	}
	await(t, "the fresh file", func() bool {
		text, err := os.ReadFile(cached)
		return err == nil && int64(len(text)) == rec.Snapshot.Bytes
	})
	content["key2"] = "3"
	w.announce(p.commit(content, false, 8))
	if swap := <-got; swap.Full || swap.Replayed || len(changed(swap)) != 1 {
		t.Errorf("the version after the replay is not made by a delta: %+v", swap)
	}
}

// With an earlier version, the callback gets exactly the changes since then.
func TestReplayFromVersion(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	d := handle(s, "prices")
	got := swaps(t, d)
	p := &pipeline{w: w, name: "prices"}
	content := records{"a": "1", "b": "1", "c": "1", "d": "1"}
	w.announce(p.commit(content, true, 8))
	<-got
	for _, change := range []func(records){
		func(c records) { c["a"] = "2" },
		func(c records) { c["b"], c["e"] = "3", "3"; delete(c, "c") },
		func(c records) { c["e"], c["d"] = "4", "4" },
	} {
		content = maps.Clone(content)
		change(content)
		w.announce(p.commit(content, false, 8))
		<-got
	}
	o := w.replay(fleet.ReplayRequest{ID: "r", From: 2, Version: 4})
	wantState(t, o, fleet.ReplayDone, "")
	swap := <-got
	want := []string{"+e=4", "-c", "~b=1/3", "~d=1/4"}
	if diff := cmp.Diff(want, changed(swap)); diff != "" || swap.Old.Version() != 2 || !swap.Replayed || !o.Full {
		t.Errorf("%+v, %s", swap, diff)
	}
	wantState(t, w.replay(fleet.ReplayRequest{ID: "same", From: 4}), fleet.ReplayRefused, "there are no changes since version 4")

	w.announce(p.commit(content, true, 8)) // its record has the deltas before its snapshot, too, which instances do not pull
	<-got
	o = w.replay(fleet.ReplayRequest{ID: "gone", From: 3})
	wantState(t, o, fleet.ReplayRefused, "version 5 is loaded from its snapshot alone, so there are no changes since version 3")
	if len(got) != 0 {
		t.Error("a refused replay called back")
	}
}

// A callback that is behind is called once, with all changes since the version of its last call.
func TestReplayOfACallbackThatIsBehind(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	d := handle(s, "prices")
	gate, got := make(chan struct{}), make(chan subscribe.Swap, 100)
	if _, err := d.OnSwap(func(swap subscribe.Swap) { got <- swap; <-gate }); err != nil {
		t.Fatal(err)
	}
	p := &pipeline{w: w, name: "prices"}
	w.announce(p.commit(numbered(1), true, 8))
	first := <-got
	for v := uint64(2); v <= 3; v++ {
		w.announce(p.commit(numbered(v), false, 8))
		awaitVersion(t, s, "prices", v)
	}
	opts := fleet.ReplayOptions{Request: fleet.ReplayRequest{ID: "since", From: 2}, Instances: w.surveyed(1), Wait: 2 * time.Second}
	wantState(t, w.replayWith(opts), fleet.ReplayUnfinished, "1 of 1 callbacks have not returned")
	w.announce(p.commit(numbered(4), false, 8))
	awaitVersion(t, s, "prices", 4)
	gate <- struct{}{}
	swap := <-got
	if !swap.Replayed || swap.Old != first.New || swap.New.Version() != 4 || changed(swap)[0] != "~key0=1/4" {
		t.Errorf("the callback got %+v", swap)
	}
	close(gate)
	wantState(t, w.replay(fleet.ReplayRequest{ID: "since", From: 2}), fleet.ReplayDone, "")
}

// A full replay that fails leaves the table, the state and the version, and is tried again for the next call with its id.
func TestReplayFails(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	d := handle(s, "prices")
	got := swaps(t, d)
	w.publish("prices", 1)
	<-got
	table := d.Table()
	w.relay.fail(func(rw http.ResponseWriter, _ *http.Request) bool {
		http.Error(rw, "no", http.StatusInternalServerError)
		return true
	})
	q := fleet.ReplayRequest{ID: "r", Full: true}
	o := w.replay(q)
	wantState(t, o, fleet.ReplayFailed, "load version prices/1 again")
	if st := statusOf(t, s, "prices"); d.Table() != table || o.Version != 1 || st.Error != "" || st.Refreshes.Failed != 0 || st.State == fleet.Failing || len(got) != 0 {
		t.Errorf("%+v, %+v", o.ReplayReport, st)
	}
	w.relay.fail(nil)
	wantState(t, w.replay(q), fleet.ReplayDone, "")
	if d.Table() == table {
		t.Error("the table was not replaced")
	}
}

// A callback that panics is in the report. The call is retried as ever.
func TestReplayOfACallbackThatPanics(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	d := handle(s, "prices")
	got := make(chan subscribe.Swap, 100)
	var broken atomic.Bool
	if _, err := d.OnSwap(func(swap subscribe.Swap) {
		if broken.Swap(false) {
			panic("in the callback")
		}
		got <- swap
	}); err != nil {
		t.Fatal(err)
	}
	stop, err := d.OnSwap(func(swap subscribe.Swap) {})
	if err != nil {
		t.Fatal(err)
	}
	w.publish("prices", 1)
	<-got
	broken.Store(true)
	wantState(t, w.replay(fleet.ReplayRequest{ID: "r"}), fleet.ReplayFailed, "call back for version prices/1")
	if swap := <-got; !swap.Replayed || swap.Old != nil {
		t.Errorf("the retried call got %+v", swap)
	}
	stop()
	if o := w.replay(fleet.ReplayRequest{ID: "r2"}); o.State != fleet.ReplayDone || o.Callbacks != 1 {
		t.Errorf("%+v", o)
	}
}

// An instance that ends in the middle of a full replay is named.
func TestReplayOfAnInstanceThatEnds(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	reached := make(chan struct{}, 10)
	w.relay.fail(func(_ http.ResponseWriter, q *http.Request) bool {
		reached <- struct{}{}
		<-q.Context().Done()
		return true
	})
	instances := w.surveyed(1)
	go func() {
		<-reached
		s.Close()
	}()
	o := w.replayWith(fleet.ReplayOptions{Request: fleet.ReplayRequest{ID: "r", Full: true}, Instances: instances, Silence: time.Second})
	wantState(t, o, fleet.ReplaySilent, "in the middle of the replay")
	if o.Instance != "i1" {
		t.Errorf("%+v", o)
	}
}

// The instance remembers a bounded number of replays.
func TestManyReplays(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	got := swaps(t, handle(s, "prices"))
	w.publish("prices", 1)
	<-got
	for i := range 70 {
		id := fmt.Sprint("r-", i)
		wantState(t, w.replay(fleet.ReplayRequest{ID: id}), fleet.ReplayDone, "")
		<-got
	}
	if o := w.replay(fleet.ReplayRequest{ID: "r-69"}); !o.Repeated {
		t.Errorf("%+v", o)
	}
	if o := w.replay(fleet.ReplayRequest{ID: "r-0"}); o.Repeated || o.State != fleet.ReplayDone {
		t.Errorf("%+v", o)
	}
}
