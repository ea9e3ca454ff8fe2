package replay_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/replay"
)

var byAnn = replay.Audit{By: "ann", Reason: "stale", RequestID: "r-1"}

// in returns a replay to all instances, with the changes.
func in(change func(*replay.InstancesInput)) replay.InstancesInput {
	i := replay.InstancesInput{Dataset: "prices", Selection: fleet.Selection{All: true}, Audit: byAnn}
	if change != nil {
		change(&i)
	}
	return i
}

// states returns the outcomes as "name: state".
func states(outcomes []fleet.ReplayOutcome) (all []string) {
	for _, o := range outcomes {
		all = append(all, fmt.Sprintf("%s: %s", o.Instance, o.State))
	}
	return all
}

// Instances replays what a selection chooses, writes one entry for a replay and its repetition, and calls back for each step.
func TestInstances(t *testing.T) {
	w := newWorld(t)
	var got atomic.Pointer[fleet.ReplayRequest]
	w.instance("a", map[string]string{"tier": "canary"}, 5, func(q fleet.ReplayRequest) fleet.ReplayReport { got.Store(&q); return w.does(5)(q) })
	w.instance("b", nil, 4, func(fleet.ReplayRequest) fleet.ReplayReport {
		return fleet.ReplayReport{State: fleet.ReplayRefused, Version: 4, Error: "version 4 is served"}
	})
	w.instance("old", nil, 5, nil)
	var begun replay.Begun
	var ended []string
	outcomes, err := w.replayer.Instances(w.ctx, in(func(i *replay.InstancesInput) {
		i.Version, i.ID, i.From, i.Full = 5, w.refs[5].ID.Short(), 4, true
		i.Begun = func(b replay.Begun) { begun = b }
		i.Ended = func(o fleet.ReplayOutcome) { ended = append(ended, o.Instance) }
	}))
	if want := []string{"a: done", "b: refused", "old: unable"}; err != nil || !slices.Equal(states(outcomes), want) || len(ended) != 3 {
		t.Fatalf("%v, %v, ended %v", states(outcomes), err, ended)
	}
	q := *got.Load()
	q.Attempt = ""
	want := fleet.ReplayRequest{ID: "r-1", Dataset: "prices", Version: 5, VersionID: w.refs[5].ID, From: 4, Full: true, By: "ann", Reason: "stale"}
	if diff := cmp.Diff(want, q); diff != "" {
		t.Errorf("the request: %s", diff)
	}
	if diff := cmp.Diff(replay.Begun{RequestID: "r-1", Entry: 1, Instances: 3}, begun); diff != "" {
		t.Errorf("begun: %s", diff)
	}
	again := in(func(i *replay.InstancesInput) { i.Version, i.From, i.Full = 5, 4, true })
	if _, err := w.replayer.Instances(w.ctx, again); err != nil {
		t.Error(err)
	}
	again.Full = false
	if _, err := w.replayer.Instances(w.ctx, again); !errors.Is(err, replay.ErrRequestID) {
		t.Errorf("another replay with the id: %v", err)
	}
	canary := in(func(i *replay.InstancesInput) {
		i.Selection, i.Audit = fleet.Selection{Labels: map[string]string{"tier": "canary"}}, replay.Audit{}
		i.Begun = func(b replay.Begun) { begun = b }
	})
	if outcomes, err := w.replayer.Instances(w.ctx, canary); err != nil || !slices.Equal(states(outcomes), []string{"a: done"}) || begun.RequestID == "" {
		t.Errorf("%v, %v, %+v", outcomes, err, begun)
	}
	wantEntries := []string{"ann stale: version 5 with the changes since 4 to all instances (3), full", " : the served version to instances with tier=canary (1)"}
	if diff := cmp.Diff(wantEntries, w.entries()); diff != "" {
		t.Error(diff)
	}
}

// A dry run names what each instance would do, asks none, and writes nothing.
func TestInstancesDryRun(t *testing.T) {
	w := newWorld(t)
	asked := func(fleet.ReplayRequest) fleet.ReplayReport {
		t.Error("an instance is asked")
		return fleet.ReplayReport{}
	}
	w.instance("a", nil, 5, asked)
	w.instance("b", nil, 3, asked)
	w.instance("none", nil, 0, asked)
	plan := func(change func(*replay.InstancesInput)) []fleet.ReplayOutcome {
		t.Helper()
		outcomes, err := w.replayer.Instances(w.ctx, in(func(i *replay.InstancesInput) { change(i); i.DryRun = true }))
		if err != nil || len(outcomes) != 3 {
			t.Fatalf("%+v, %v", outcomes, err)
		}
		return outcomes
	}
	if got := plan(func(*replay.InstancesInput) {}); !slices.Equal(states(got), []string{"a: planned", "b: planned", "none: refused"}) || got[0].Full || got[0].Version != 5 {
		t.Errorf("%+v", got)
	}
	if got := plan(func(i *replay.InstancesInput) { i.Full = true }); got[0].PulledBytes != 1010 || got[0].Deltas != 1 || got[1].PulledBytes != 1000 || !got[1].Full {
		t.Errorf("%+v", got)
	}
	got := plan(func(i *replay.InstancesInput) { i.Version = 5 })
	if !slices.Equal(states(got), []string{"a: planned", "b: refused", "none: refused"}) || !strings.Contains(got[1].Error, "it serves version 3") {
		t.Errorf("%+v", got)
	}
	got = plan(func(i *replay.InstancesInput) { i.From = 2 })
	if !strings.Contains(got[0].Error, "there are changes since that and not since version 2") || !strings.Contains(got[1].Error, "version 3 is loaded from its snapshot alone") {
		t.Errorf("%+v", got)
	}
	if got := plan(func(i *replay.InstancesInput) { i.From = 4 }); !slices.Equal(states(got), []string{"a: planned", "b: refused", "none: refused"}) {
		t.Errorf("%+v", got)
	}
	if len(w.entries()) > 0 {
		t.Error("a dry run has an entry")
	}
}

// Invariant: nothing is written and no instance is asked for a replay that cannot be meant. Misspelt names have the nearest names.
func TestInstancesRefuse(t *testing.T) {
	w := newWorld(t)
	refuse := func(what string, want error, text string, change func(*replay.InstancesInput)) {
		t.Helper()
		if outcomes, err := w.replayer.Instances(w.ctx, in(change)); !errors.Is(err, want) || !strings.Contains(err.Error(), text) || outcomes != nil {
			t.Errorf("%s: %+v, %v", what, outcomes, err)
		}
	}
	refuse("no instance", replay.ErrNoInstance, "no instance answers", nil)
	asked := func(fleet.ReplayRequest) fleet.ReplayReport {
		t.Error("an instance is asked")
		return fleet.ReplayReport{}
	}
	w.instance("api-1", map[string]string{"tier": "canary"}, 5, asked)
	refuse("a misspelt instance", replay.ErrNoInstance, "no instance api-2 answers (did you mean api-1?)", func(i *replay.InstancesInput) {
		i.Selection = fleet.Selection{Instances: []string{"api-1", "api-2"}}
	})
	refuse("a misspelt label", replay.ErrNoInstance, "no instance has the labels tier=canari (did you mean tier=canary?)", func(i *replay.InstancesInput) {
		i.Selection = fleet.Selection{Labels: map[string]string{"tier": "canari"}}
	})
	refuse("no selection", replay.ErrInput, "it chooses no instance", func(i *replay.InstancesInput) { i.Selection = fleet.Selection{} })
	refuse("an unknown dataset", replay.ErrUnknownDataset, "dataset cities has no version", func(i *replay.InstancesInput) { i.Dataset = "cities" })
	refuse("a bad name", replay.ErrInput, "not a dataset name", func(i *replay.InstancesInput) { i.Dataset = "../x" })
	refuse("an unknown version", replay.ErrUnknownVersion, "has no version 6; the newest is 5", func(i *replay.InstancesInput) { i.Version = 6 })
	refuse("an unknown base", replay.ErrUnknownVersion, "has no version 7", func(i *replay.InstancesInput) { i.From = 7 })
	refuse("another id", replay.ErrUnknownVersion, "and not 0123456789ab", func(i *replay.InstancesInput) { i.Version, i.ID = 5, "0123456789ab" })
	refuse("a range that is none", replay.ErrInput, "name an earlier version", func(i *replay.InstancesInput) { i.Version, i.From = 3, 3 })
	refuse("a reason of two lines", replay.ErrInput, "control character", func(i *replay.InstancesInput) { i.Reason = "a\nb" })
	refuse("a bad id", replay.ErrInput, "request id", func(i *replay.InstancesInput) { i.RequestID = "a b" })
	if len(w.entries()) > 0 {
		t.Error("a refused replay has an entry")
	}
	w.nats.Kill()
	for w.nc.IsConnected() { // the client notices
		if w.ctx.Err() != nil {
			t.Fatal("the client does not notice")
		}
	}
	refuse("NATS is down", replay.ErrNATS, "nothing was replayed", nil)
}
