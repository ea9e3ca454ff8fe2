package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"github.com/nats-io/nats.go"
)

// restart starts another run of the instance, which serves the version of cities.
func (i *instance) restart(run string, started time.Time, version uint64) {
	s := *i.status.Load()
	s.Run, s.Started, s.Datasets = run, started, []fleet.DatasetStatus{serving("cities", version)}
	s.Datasets[0].Served = started
	i.status.Store(&s)
}

// later calls f after two more requests for the instance's status, on a goroutine that ends with the test.
func (i *instance) later(t *testing.T, f func()) {
	asked, ended := i.asked.Load(), make(chan bool)
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i.asked.Load() < asked+2 {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
		}
		f()
	}()
	t.Cleanup(func() { <-ended })
}

// WaitServed waits again for an instance that serves the version, restarts with the same name, host and process id, and then
// serves the version before.
func TestWaitServedDetectsARestart(t *testing.T) {
	began := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for name, runs := range map[string][2]string{"by the run": {"a", "b"}, "by the start, as up to v0.2": {}} {
		t.Run(name, func(t *testing.T) {
			ctx, s, nc := start(t)
			first, slow := run(t, s.URL, "first"), run(t, s.URL, "slow", serving("cities", 6))
			first.restart(runs[0], began, 6)
			slow.later(t, func() { first.report(fleet.Report{Dataset: "cities", Version: 7, Served: began.Add(time.Second)}) })
			restarted := false
			var l lines
			l.during = func() { // once the first has reported the version
				first.restart(runs[1], began.Add(time.Minute), 6)
				// A delayed report of the run before.
				if runs[0] == "" {
					first.report(fleet.Report{Dataset: "cities", Version: 7, Served: began.Add(time.Second)})
				}
				slow.serve("cities", 7)
				first.later(t, func() {
					restarted = true
					first.restart(runs[1], began.Add(time.Minute), 7)
				})
			}
			if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnReport: l.line}); err != nil {
				t.Fatal(err)
			}
			if first.status.Load().Datasets[0].Version != 7 || !restarted {
				t.Errorf("the wait ended while the first serves the version before; the lines are %q", l.got)
			}
			slices.Sort(l.got)
			if want := []string{"first 7", "first 7", "slow 7"}; !slices.Equal(l.got, want) {
				t.Errorf("the lines are %q, want %q", l.got, want)
			}
		})
	}
}

// An instance that restarts before it serves the version is not reported as gone.
func TestWaitServedReportsARestartedInstance(t *testing.T) {
	ctx, s, nc := start(t)
	run(t, s.URL, "good", serving("cities", 7))
	first := run(t, s.URL, "first")
	first.restart("a", timeA, 6)
	var l lines
	l.during = func() {
		first.restart("b", timeA.Add(time.Minute), 6)
		first.later(t, func() {
			first.later(t, func() { first.restart("b", timeA.Add(time.Minute), 7) })
		})
	}
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnReport: l.line}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(l.got)
	if want := []string{"first 7", "first 7 the instance was started again", "good 7"}; !slices.Equal(l.got, want) {
		t.Errorf("the lines are %q, want %q", l.got, want)
	}
}

// many returns the status of an instance with more datasets than fit into an answer. The answer omits cities.
func many(version uint64) fleet.Status {
	s := fleet.Status{Instance: "large", Host: "host", PID: 1}
	for i := range 3000 {
		d := serving(fmt.Sprintf("dataset-%04d", i), 1)
		d.State, d.Warning = fleet.Lagging, strings.Repeat("w", 500)
		s.Datasets = append(s.Datasets, d)
	}
	s.Datasets = append(s.Datasets, serving("cities", version))
	return s
}

// behind returns the instances in the BehindError of a wait for version 7 of cities.
func behind(t *testing.T, ctx context.Context, nc *nats.Conn, within time.Duration) []string {
	t.Helper()
	brief, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := fleet.WaitServed(brief, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}})
	var e *fleet.BehindError
	if !errors.As(err, &e) {
		t.Fatalf("the wait ended with %v", err)
	}
	return e.Behind
}

// An instance with any number of datasets answers for the one that WaitServed waits for.
func TestWaitServedByAnInstanceWithManyDatasets(t *testing.T) {
	ctx, s, nc := start(t)
	status := many(6)
	large := run(t, s.URL, "large")
	large.status.Store(&status)
	if got := behind(t, ctx, nc, 2*time.Second); !slices.Equal(got, []string{"large (fresh, serves 6)"}) {
		t.Errorf("behind are %q", got)
	}
	all, err := fleet.Survey(ctx, nc, fleet.SurveyOptions{Dataset: "cities"})
	if err != nil || len(all) != 1 || len(all[0].Datasets) != 1 || all[0].Datasets[0].Dataset != "cities" || all[0].Omitted != 0 {
		t.Errorf("the survey of one dataset has %+v, %v", all, err)
	}
	large.later(t, func() { status := many(7); large.status.Store(&status) })
	var l lines
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnReport: l.line}); err != nil || !slices.Equal(l.got, []string{"large 7"}) {
		t.Errorf("%v, %q", err, l.got)
	}
	status = many(0)
	status.Datasets = status.Datasets[:3000]
	large.status.Store(&status)
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}}); err != nil {
		t.Errorf("WaitServed waits for an instance without the dataset: %v", err)
	}
}

// An instance of a release up to v0.2 answers with the datasets that fit. WaitServed must not conclude that it lacks the others.
func TestWaitServedByAnInstanceThatLeavesDatasetsOut(t *testing.T) {
	ctx, s, nc := start(t)
	data, err := many(6).Encode(1 << 20)
	if err != nil || bytes.Contains(data, []byte("cities")) {
		t.Fatalf("the status of many datasets omits none: %v", err)
	}
	old := connect(t, s.URL)
	sub, err := old.Subscribe("freshet.v1.instances.status", func(m *nats.Msg) { _ = m.Respond(data) }) // fails after the end of the test
	if err == nil {
		err = old.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Drain() }()
	got := behind(t, ctx, nc, 2*time.Second)
	if len(got) != 1 || !strings.Contains(got[0], "large (its answer leaves out ") || !strings.Contains(got[0], "/v1/status") {
		t.Errorf("behind are %q", got)
	}
	reported := false
	var l lines
	l.during = func() { // the warning
		reported = true
		if err := fleet.SendReport(old, "", fleet.Report{Instance: "large", Host: "host", PID: 1, Dataset: "cities", Version: 7}); err != nil {
			t.Error(err)
		}
	}
	if err := fleet.WaitServed(ctx, nc, fleet.Wait{Dataset: "cities", Version: dataset.Ref{Version: 7}, OnReport: l.line}); err != nil || !reported {
		t.Errorf("%v, reported: %v", err, reported)
	}
	if len(l.got) != 2 || !strings.HasPrefix(l.got[0], "large 7 its answer leaves out ") || l.got[1] != "large 7" {
		t.Errorf("the lines are %q", l.got)
	}
}
