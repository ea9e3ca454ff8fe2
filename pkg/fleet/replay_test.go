package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"github.com/nats-io/nats.go"
)

// replayer is a fake instance that answers requests for replays with replay.
type replayer struct {
	status fleet.Status
	nc     *nats.Conn
	end    func() // ends its responder
}

func replayingInstance(t *testing.T, ctx context.Context, url, namespace, name string, replay func(fleet.ReplayRequest) fleet.ReplayReport) *replayer {
	t.Helper()
	r := &replayer{nc: connect(t, url), status: fleet.Status{Instance: name, Host: "host", PID: 7, Run: "RUN" + name}}
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fleet.NewReplayResponder(r.nc, namespace, r.status.Run, replay).Run(running) }()
	var ended atomic.Bool
	r.end = func() {
		if ended.Swap(true) {
			return
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("the responder of %s: %v", name, err)
		}
	}
	t.Cleanup(r.end)
	subscribed(t, ctx, r.nc)
	return r
}

// says returns a function that always reports the same.
func says(report fleet.ReplayReport) func(fleet.ReplayRequest) fleet.ReplayReport {
	return func(fleet.ReplayRequest) fleet.ReplayReport { return report }
}

var replayPrices = fleet.ReplayRequest{ID: "r-1", Dataset: "prices", Version: 3, Full: true, By: "ann", Reason: "test"}

// Each instance has its own outcome, in the order of the instances; a replay that takes long is asked for again with the same id.
func TestReplay(t *testing.T) {
	ctx, s, nc := start(t)
	var asked, wrong atomic.Int64
	var attempt atomic.Pointer[string]
	done := fleet.ReplayReport{
		State: fleet.ReplayDone, Version: 3, ID: dataset.VersionID{3}, Full: true, PulledBytes: 99, Deltas: 1, Callbacks: 2, Duration: time.Second,
	}
	a := replayingInstance(t, ctx, s.URL, "", "a", func(q fleet.ReplayRequest) fleet.ReplayReport {
		if before := attempt.Swap(new(q.Attempt)); before != nil && *before != q.Attempt || q.Attempt == "" {
			wrong.Add(1)
		}
		if q.Attempt = ""; q != replayPrices {
			wrong.Add(1)
		}
		if asked.Add(1) < 4 {
			return fleet.ReplayReport{State: fleet.ReplayWorking, Error: "loads"}
		}
		return done
	})
	b := replayingInstance(t, ctx, s.URL, "", "b", says(fleet.ReplayReport{State: fleet.ReplayRefused, Version: 2, Error: "version 2 is served,\n and not version 3"}))
	c := replayingInstance(t, ctx, s.URL, "", "c", says(fleet.ReplayReport{State: fleet.ReplayFailed, Error: "no relay"}))
	later := replayingInstance(t, ctx, s.URL, "", "later", says(fleet.ReplayReport{State: "postponed"}))
	old := fleet.Status{Instance: "old"}
	older := fleet.Status{Instance: "older", Run: "RUNolder"}
	var ended []string
	all, err := fleet.Replay(ctx, nc, fleet.ReplayOptions{
		Request: replayPrices, Instances: []fleet.Status{a.status, b.status, c.status, old, older, later.status},
		Ended: func(o fleet.ReplayOutcome) { ended = append(ended, o.Instance) },
	})
	if err != nil || len(all) != 6 || len(ended) != 6 || wrong.Load() > 0 {
		t.Fatalf("%+v, %v, ended %v, %d wrong requests", all, err, ended, wrong.Load())
	}
	if o := all[0]; o.Instance != "a" || o.Run != "RUNa" || o.PID != 7 || o.ReplayReport != done || asked.Load() != 4 {
		t.Errorf("%+v after %d requests", o, asked.Load())
	}
	for i, want := range []struct {
		state fleet.ReplayState
		text  string
	}{
		1: {fleet.ReplayRefused, "version 2 is served, and not version 3"},
		2: {fleet.ReplayFailed, "no relay"},
		3: {fleet.ReplayUnable, "its release has no replays"},
		4: {fleet.ReplayUnable, "nothing answers requests for replays for it"},
		5: {fleet.ReplayFailed, `unknown state "postponed"`},
	} {
		if o := all[i]; i > 0 && (o.State != want.state || !strings.Contains(o.Error, want.text)) {
			t.Errorf("%s: %+v, want %+v", o.Instance, o.ReplayReport, want)
		}
	}
	verdict := fleet.ReplayVerdict(all)
	if !errors.Is(verdict, fleet.ErrReplay) || !strings.Contains(verdict.Error(), "5 of 6 did not: b (refused: version 2") || fleet.ReplayVerdict(all[:1]) != nil {
		t.Errorf("the verdict is %v", verdict)
	}
	if err := fleet.ReplayVerdict(append(append([]fleet.ReplayOutcome{}, all...), append(all, all...)...)); !strings.Contains(err.Error(), "and 5 more") {
		t.Errorf("the verdict is %v", err)
	}
}

// An instance that dies in the middle is named, with what it reported last, and the others are not delayed by it.
func TestReplayOfAnInstanceThatDies(t *testing.T) {
	ctx, s, nc := start(t)
	var r *replayer
	asked := make(chan struct{}, 100)
	r = replayingInstance(t, ctx, s.URL, "", "a", func(fleet.ReplayRequest) fleet.ReplayReport {
		asked <- struct{}{}
		return fleet.ReplayReport{State: fleet.ReplayWorking, Version: 3}
	})
	other := replayingInstance(t, ctx, s.URL, "", "b", says(fleet.ReplayReport{State: fleet.ReplayDone, Version: 3}))
	go func() {
		<-asked
		r.end()
	}()
	all, err := fleet.Replay(ctx, nc, fleet.ReplayOptions{Request: replayPrices, Instances: []fleet.Status{r.status, other.status}, Silence: 300 * time.Millisecond})
	if err != nil || all[1].State != fleet.ReplayDone {
		t.Fatalf("%+v, %v", all, err)
	}
	if o := all[0]; o.State != fleet.ReplaySilent || o.Version != 3 || !strings.Contains(o.Error, "in the middle of the replay") {
		t.Errorf("%+v", o)
	}
}

// Invariant: Replay ends at its time, at the end of its context, and when NATS stays down, and says what is unfinished.
func TestReplayEnds(t *testing.T) {
	ctx, s, nc := start(t)
	a := replayingInstance(t, ctx, s.URL, "", "a", says(fleet.ReplayReport{State: fleet.ReplayWorking, Error: "1 of 2 callbacks"}))
	opts := fleet.ReplayOptions{Request: replayPrices, Instances: []fleet.Status{a.status}, Wait: 250 * time.Millisecond, Silence: 300 * time.Millisecond}
	all, err := fleet.Replay(ctx, nc, opts)
	if err != nil || all[0].State != fleet.ReplayUnfinished || all[0].Error != "still working after 250ms; it goes on: 1 of 2 callbacks" {
		t.Errorf("%+v, %v", all, err)
	}
	opts.Wait = time.Minute
	why := errors.New("the caller has left")
	cancelled, cancel := context.WithCancelCause(ctx)
	opts.Request.ID = "r-2"
	cancel(why)
	if all, err := fleet.Replay(cancelled, nc, opts); !errors.Is(err, why) || all[0].State != fleet.ReplayUnfinished {
		t.Errorf("%+v, %v", all, err)
	}
	s.Kill()
	eventually(t, ctx, "the connection is lost", func() bool { return !nc.IsConnected() })
	if all, err := fleet.Replay(ctx, nc, opts); !errors.Is(err, fleet.ErrDisconnected) || all != nil {
		t.Errorf("%+v, %v", all, err)
	}
	s.Start()
	eventually(t, ctx, "the connections are back", func() bool { return nc.IsConnected() && a.nc.IsConnected() })
	result := make(chan error, 1)
	var down []fleet.ReplayOutcome
	go func() {
		var err error
		down, err = fleet.Replay(ctx, nc, opts)
		result <- err
	}()
	s.Kill()
	if err := <-result; !errors.Is(err, fleet.ErrDisconnected) || len(down) > 0 && down[0].State != fleet.ReplayUnfinished {
		t.Errorf("%+v, %v", down, err)
	}
}

// A restart of NATS in the middle costs time only.
func TestReplayOverARestartOfNATS(t *testing.T) {
	ctx, s, nc := start(t)
	asked := make(chan struct{}, 100)
	var back atomic.Bool
	a := replayingInstance(t, ctx, s.URL, "", "a", func(fleet.ReplayRequest) fleet.ReplayReport {
		asked <- struct{}{}
		if back.Load() {
			return fleet.ReplayReport{State: fleet.ReplayDone}
		}
		return fleet.ReplayReport{State: fleet.ReplayWorking}
	})
	go func() {
		<-asked
		s.Kill()
		back.Store(true)
		s.Start()
	}()
	all, err := fleet.Replay(ctx, nc, fleet.ReplayOptions{Request: replayPrices, Instances: []fleet.Status{a.status}, Silence: 20 * time.Second})
	if err != nil || all[0].State != fleet.ReplayDone {
		t.Errorf("%+v, %v", all, err)
	}
}

// Invariant: the responder answers a malformed request with a refusal and does not call replay. A panic is the answer too.
func TestMalformedReplays(t *testing.T) {
	ctx, s, nc := start(t)
	calls := 0
	replayingInstance(t, ctx, s.URL, "", "a", func(fleet.ReplayRequest) fleet.ReplayReport { calls++; return fleet.ReplayReport{} })
	for payload, want := range map[string]string{
		"": "not readable", "null": "not a dataset name", `{"dataset":"prices"}`: "no id", `{"dataset":"prices","id":"a b"}`: "the id of the replay",
		`{"dataset":"prices","id":"a","version":3,"from_version":3}`: "name an earlier version", `{"dataset":"prices","id":"a","by":"\n"}`: "control character",
		strings.Repeat("x", 20<<10): "the most is 16384",
	} {
		m, err := nc.RequestWithContext(ctx, "freshet.v1.instances.replay.RUNa", []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		var r fleet.ReplayReport
		if err := json.Unmarshal(m.Data, &r); err != nil || r.State != fleet.ReplayRefused || !strings.Contains(r.Error, want) {
			t.Errorf("%.40q: %s, %v, want %s", payload, m.Data, err, want)
		}
	}
	if calls > 0 {
		t.Errorf("%d calls", calls)
	}
	own := connect(t, s.URL)
	failed := make(chan error, 1)
	go func() {
		failed <- fleet.NewReplayResponder(own, "test", "RUNp", func(fleet.ReplayRequest) fleet.ReplayReport { panic("no replay today") }).Run(ctx)
	}()
	subscribed(t, ctx, own)
	all, err := fleet.Replay(ctx, nc, fleet.ReplayOptions{Namespace: "test", Request: replayPrices, Instances: []fleet.Status{{Instance: "p", Run: "RUNp"}}})
	if err != nil || all[0].State != fleet.ReplayRefused || !strings.Contains(all[0].Error, "no replay today") {
		t.Errorf("%+v, %v", all, err)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "answer requests for replays: panic: no replay today") {
		t.Errorf("%v", err)
	}
}
