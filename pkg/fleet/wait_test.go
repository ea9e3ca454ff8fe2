package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// lines collects the reports of WaitServed, as "instance version error", and calls during once, at the first line.
type lines struct {
	got    []string
	during func()
}

func (l *lines) line(r fleet.Report) {
	l.got = append(l.got, strings.TrimSpace(fmt.Sprintf("%s %d %s", r.Instance, r.Version, r.Error)))
	if l.during != nil {
		l.during()
		l.during = nil
	}
}

// Each case describes an event at the first line, which is that of an instance that serves version 7 from the start.
func TestWaitServed(t *testing.T) {
	for name, tc := range map[string]struct {
		// behind has the initial versions of further instances.
		behind []uint64
		during func(t *testing.T, url string, behind []*instance)
		want   []string
	}{
		"all serve it":           {want: []string{"first 7"}},
		"a later one is as good": {behind: []uint64{8}, want: []string{"first 7", "other-0 8"}},
		"reports arrive": {behind: []uint64{6, 0}, during: func(_ *testing.T, _ string, behind []*instance) {
			for _, i := range behind {
				i.serve("cities", 7)
				i.report(fleet.Report{Dataset: "cities", Version: 6}) // an old version: no line
				i.report(fleet.Report{Dataset: "cities", Version: 7})
				i.report(fleet.Report{Dataset: "cities", Version: 7})
			}
		}, want: []string{"first 7", "other-0 7", "other-1 7"}},
		"reports are lost": {behind: []uint64{6}, during: func(_ *testing.T, _ string, behind []*instance) {
			behind[0].serve("cities", 7)
		}, want: []string{"first 7", "other-0 7"}},
		"an instance fails first": {behind: []uint64{6}, during: func(_ *testing.T, _ string, behind []*instance) {
			behind[0].report(fleet.Report{Dataset: "cities", Version: 7, Error: "no space"})
			behind[0].report(fleet.Report{Dataset: "cities", Version: 7, Error: "no space"})
			behind[0].serve("cities", 7)
			behind[0].report(fleet.Report{Dataset: "cities", Version: 7})
		}, want: []string{"first 7", "other-0 7", "other-0 7 no space"}},
		"states change": {behind: []uint64{6}, during: func(_ *testing.T, _ string, behind []*instance) {
			// A report of a state with version 7 does not mean that the instance has swapped it in, or failed to load it.
			behind[0].report(fleet.Report{Kind: fleet.OfState, Dataset: "cities", Version: 7, State: fleet.Refreshing, Was: fleet.Fresh})
			behind[0].report(fleet.Report{Kind: fleet.OfState, Dataset: "cities", Version: 7, State: fleet.Blind, Was: fleet.Fresh, Error: "x"})
			behind[0].report(fleet.Report{Kind: fleet.OfFailure, Dataset: "cities", Version: 7, Error: "no space", Stack: "goroutine 1"})
			behind[0].serve("cities", 8)
			behind[0].report(fleet.Report{Kind: fleet.OfSwap, Dataset: "cities", Version: 8})
		}, want: []string{"first 7", "other-0 7 no space", "other-0 8"}},
		"an instance dies": {behind: []uint64{6}, during: func(_ *testing.T, _ string, behind []*instance) {
			behind[0].stop()
		}, want: []string{"first 7", "other-0 7 the instance is gone"}},
		"an instance comes up": {behind: []uint64{6}, during: func(t *testing.T, url string, behind []*instance) {
			late := run(t, url, "late", serving("cities", 6))
			behind[0].serve("cities", 7)
			behind[0].report(fleet.Report{Dataset: "cities", Version: 7})
			late.serve("cities", 7)
		}, want: []string{"first 7", "late 7", "other-0 7"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, s, nc := start(t)
			run(t, s.URL, "first", serving("cities", 7))
			run(t, s.URL, "unconcerned", serving("prices", 1))
			var behind []*instance
			for i, v := range tc.behind {
				behind = append(behind, run(t, s.URL, fmt.Sprintf("other-%d", i), serving("cities", v)))
			}
			var l lines
			if tc.during != nil {
				l.during = func() { tc.during(t, s.URL, behind) }
			}
			if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnLine: l.line}); err != nil {
				t.Fatal(err)
			}
			slices.Sort(l.got)
			if !slices.Equal(l.got, tc.want) {
				t.Errorf("the lines are %q, want %q", l.got, tc.want)
			}
		})
	}
}

// The line of an instance that already serves the version comes from its status, with the cost of its refresh.
func TestWaitServedTellsTheCost(t *testing.T) {
	ctx, s, nc := start(t)
	d := serving("cities", 7)
	d.LastPull = fleet.Pull{Bytes: 300, Full: true, Deltas: 2, Fallback: "another state", Duration: time.Second}
	run(t, s.URL, "first", d)
	var got []fleet.Report
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnLine: func(r fleet.Report) { got = append(got, r) }}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("%d lines: %+v", len(got), got)
	}
	r := got[0]
	if cost := (fleet.Pull{Bytes: r.PulledBytes, Full: r.Full, Deltas: r.Deltas, Fallback: r.Fallback, Duration: r.Duration}); cost != d.LastPull {
		t.Errorf("the cost of the refresh is %+v, want %+v", cost, d.LastPull)
	}
}

func TestWaitServedByNobody(t *testing.T) {
	ctx, s, nc := start(t)
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 1}}); err != nil {
		t.Error(err)
	}
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "*", Version: dataset.Ref{Version: 1}}); !errors.Is(err, dataset.ErrName) {
		t.Error(err)
	}
	s.Stop()
	eventually(t, ctx, "disconnected", func() bool { return !nc.IsConnected() })
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 1}}); !errors.Is(err, fleet.ErrDisconnected) {
		t.Error(err)
	}
}

func TestWaitServedNamesWhoIsBehind(t *testing.T) {
	ctx, s, nc := start(t)
	run(t, s.URL, "good", serving("cities", 7))
	run(t, s.URL, "slow", serving("cities", 6))
	failing := serving("cities", 5)
	failing.State, failing.Error = fleet.Failing, "version 7 is damaged"
	run(t, s.URL, "refuses", failing)
	guarded := serving("cities", 6)
	guarded.State, guarded.Warning = fleet.Quarantined, "version 7 is quarantined"
	run(t, s.URL, "guarded", guarded)

	waiting, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel()
	var l lines
	err := fleet.WaitServed(waiting, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnLine: l.line})
	var behind *fleet.BehindError
	if !errors.As(err, &behind) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	want := []string{"guarded (quarantined, serves 6, last error: version 7 is quarantined)", "refuses (failing, serves 5, last error: version 7 is damaged)", "slow (fresh, serves 6)"}
	if !slices.Equal(behind.Behind, want) {
		t.Errorf("behind are %q, want %q", behind.Behind, want)
	}
	slices.Sort(l.got)
	if want := []string{"good 7", "guarded 7 version 7 is quarantined", "refuses 7 version 7 is damaged"}; !slices.Equal(l.got, want) {
		t.Errorf("the lines are %q, want %q", l.got, want)
	}
}

func TestWaitServedDoesNotHangOnAHangingInstance(t *testing.T) {
	ctx, s, nc := start(t)
	silent(t, s.URL)
	waiting, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	err := fleet.WaitServed(waiting, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}})
	var behind *fleet.BehindError
	if !errors.As(err, &behind) || len(behind.Behind) != 0 {
		t.Errorf("the error is %v", err)
	}
}

func TestWaitServedThroughARestart(t *testing.T) {
	ctx, s, nc := start(t)
	run(t, s.URL, "first", serving("cities", 7))
	other := run(t, s.URL, "other", serving("cities", 6))
	var l lines
	l.during = func() {
		s.Kill()
		s.Start()
		other.serve("cities", 7)
	}
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnLine: l.line}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(l.got, "other 7") {
		t.Errorf("the lines are %q", l.got)
	}
}

// WaitServed waits for the slower one of two instances with the same name, too.
func TestWaitServedTellsInstancesWithOneNameApart(t *testing.T) {
	ctx, s, nc := start(t)
	run(t, s.URL, "twin", serving("cities", 7))
	slow := run(t, s.URL, "twin", serving("cities", 6))
	slow.process(2)

	brief, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel()
	err := fleet.WaitServed(brief, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}})
	var behind *fleet.BehindError
	if !errors.As(err, &behind) || !slices.Equal(behind.Behind, []string{"twin (process 2 on host, fresh, serves 6)"}) {
		t.Errorf("the error is %v", err)
	}

	var l lines
	l.during = func() {
		slow.serve("cities", 7)
		slow.report(fleet.Report{Dataset: "cities", Version: 7})
	}
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnLine: l.line}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"twin 7", "twin 7"}; !slices.Equal(l.got, want) {
		t.Errorf("the lines are %q, want %q", l.got, want)
	}
}

// WaitServed reports an instance with an unreadable status, and waits only for the others.
func TestWaitServedBesideAnUnreadableStatus(t *testing.T) {
	ctx, s, nc := start(t)
	unreadable(t, s.URL)
	run(t, s.URL, "good", serving("cities", 7))
	slow := run(t, s.URL, "slow", serving("cities", 6))
	var l lines
	l.during = func() { slow.serve("cities", 7) }
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnLine: l.line}); err != nil {
		t.Fatal(err)
	}
	if len(l.got) != 3 || l.got[0] != "good 7" || !strings.Contains(l.got[1], fleet.ErrUnreadable.Error()) || l.got[2] != "slow 7" {
		t.Errorf("the lines are %q", l.got)
	}
}
