package fleet_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// pinnedTo returns the status of a dataset on an instance that is pinned to the version, and serves it.
func pinnedTo(version uint64) fleet.DatasetStatus {
	d := serving("cities", version)
	d.State, d.Pin = fleet.Pinned, &dataset.Pin{Version: version, ID: dataset.VersionID{byte(version)}, Entry: 3, Reason: "wrong prices"}
	return d
}

// A wait names the instances that are pinned below the version, and does not wait for them.
func TestWaitServedByPinnedInstances(t *testing.T) {
	ctx, s, nc := start(t)
	run(t, s.URL, "free", serving("cities", 7))
	run(t, s.URL, "old", pinnedTo(6))
	run(t, s.URL, "newer", pinnedTo(8))
	goingDown := serving("cities", 6)
	goingDown.State, goingDown.Pin = fleet.Refreshing, &dataset.Pin{Version: 2, Entry: 4}
	run(t, s.URL, "way-down", goingDown)
	var l lines
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnReport: l.line}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(l.got)
	want := []string{
		"free 7", "newer 8", "old 7 it is pinned to version 6 (060000000000) and the wait goes on without it: wrong prices",
		"way-down 7 it is pinned to version 2 and the wait goes on without it",
	}
	if !slices.Equal(l.got, want) {
		t.Errorf("the lines are %q, want %q", l.got, want)
	}
}

// A wait for the version to which an instance is pinned waits for that instance, and so does one after an unpin.
func TestWaitServedByAnInstanceOnItsWayToThePin(t *testing.T) {
	ctx, s, nc := start(t)
	d := serving("cities", 6)
	d.State, d.Pin = fleet.Refreshing, &dataset.Pin{Version: 7, Entry: 1}
	i := run(t, s.URL, "one", d)
	waiting, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
	defer cancel()
	wait := fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}}
	if err := fleet.WaitServed(waiting, nc, wait); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait for the pinned version: %v", err)
	}
	i.serve("cities", 7)
	if err := fleet.WaitServed(ctx, nc, wait); err != nil {
		t.Error(err)
	}
}

func TestPinnedBelow(t *testing.T) {
	id := dataset.VersionID{1}
	for _, tc := range []struct {
		pin  *dataset.Pin
		want bool
	}{
		{nil, false},
		{&dataset.Pin{Version: 4, ID: id}, true},
		{&dataset.Pin{Version: 5, ID: id}, false},
		{&dataset.Pin{Version: 6}, false},
		{&dataset.Pin{Version: 5, ID: dataset.VersionID{2}}, true},
	} {
		if got := (fleet.DatasetStatus{Pin: tc.pin}).PinnedBelow(dataset.Ref{Version: 5, ID: id}); got != tc.want {
			t.Errorf("%+v: %v", tc.pin, got)
		}
	}
}
