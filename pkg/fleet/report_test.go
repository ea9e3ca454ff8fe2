package fleet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"github.com/google/go-cmp/cmp"
)

func TestReports(t *testing.T) {
	ctx, s, nc := start(t)
	cities, err := fleet.WatchReports(ctx, nc, "", "cities")
	if err != nil {
		t.Fatal(err)
	}
	defer cities.Close()
	all, err := fleet.WatchReports(ctx, nc, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()

	created := time.Date(2026, 11, 22, 18, 0, 0, 123456789, time.UTC)
	sent := []fleet.Report{
		{Instance: "a", Host: "h", PID: 7, Dataset: "prices", Version: 3, Error: "the relay is down"},
		{Instance: "a", Dataset: "cities", Version: 1 << 60, PulledBytes: 77, Created: created, Served: created.Add(time.Second), Duration: time.Minute},
	}
	sender := connect(t, s.URL)
	for _, r := range sent {
		// Next skips messages that are not reports, and reports on another subject.
		for _, data := range []string{"", "[]", `{"dataset":"rules"}`} {
			if err := sender.Publish("freshet.v1.reports."+r.Dataset, []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		if err := fleet.SendReport(sender, "", r); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range sent {
		got, err := all.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if got, err := cities.Next(ctx); err != nil || got.Dataset != "cities" {
		t.Errorf("%+v, %v", got, err)
	}
	ended, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if _, err := cities.Next(ended); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a report: %v", err)
	}
	cities.Close()
	if _, err := cities.Next(ctx); !errors.Is(err, fleet.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestReportsRefuse(t *testing.T) {
	ctx, s, nc := start(t)
	if err := fleet.SendReport(nc, "", fleet.Report{Instance: "a", Dataset: "*"}); !errors.Is(err, dataset.ErrName) {
		t.Error(err)
	}
	if _, err := fleet.WatchReports(ctx, nc, "", ">"); !errors.Is(err, dataset.ErrName) {
		t.Error(err)
	}
	s.Stop()
	eventually(t, ctx, "disconnected", func() bool { return !nc.IsConnected() })
	if _, err := fleet.WatchReports(ctx, nc, "", "cities"); !errors.Is(err, fleet.ErrDisconnected) {
		t.Error(err)
	}
}
