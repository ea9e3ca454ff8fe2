package fleet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

func TestSurvey(t *testing.T) {
	ctx, s, nc := start(t)
	if all, err := fleet.Survey(ctx, nc, fleet.SurveyOptions{}); err != nil || len(all) != 0 {
		t.Errorf("of no instance: %v, %v", all, err)
	}
	for _, name := range []string{"b", "c", "a"} {
		run(t, s.URL, name, serving("cities", 7), serving("prices", 9))
	}
	all, err := fleet.Survey(ctx, nc, fleet.SurveyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var want []fleet.Status
	for _, name := range []string{"a", "b", "c"} {
		want = append(want, fleet.Status{
			Instance: name, Host: "host", PID: 1, Datasets: []fleet.DatasetStatus{serving("cities", 7), serving("prices", 9)},
		})
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if d, ok := all[0].Dataset("prices"); !ok || d.Version != 9 {
		t.Errorf("prices: %v, %v", d, ok)
	}
	if _, ok := all[0].Dataset("rules"); ok {
		t.Error("an instance has a dataset that it should not have")
	}
}

// silent is an instance that hangs: it receives requests and does not answer.
func silent(t *testing.T, url string) {
	t.Helper()
	nc := connect(t, url)
	if _, err := nc.SubscribeSync("freshet.v1.instances.status"); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestSurveyOfAHangingInstance(t *testing.T) {
	ctx, s, nc := start(t)
	silent(t, s.URL)
	quick := fleet.SurveyOptions{Stall: 100 * time.Millisecond, Wait: 200 * time.Millisecond}
	if _, err := fleet.Survey(ctx, nc, quick); !errors.Is(err, fleet.ErrNoAnswer) {
		t.Errorf("of one that hangs: %v", err)
	}
	run(t, s.URL, "a")
	quick.Wait = time.Minute // the survey ends a stall after the answer
	all, err := fleet.Survey(ctx, nc, quick)
	if err != nil || len(all) != 1 {
		t.Errorf("of one that hangs and one that does not: %v, %v", all, err)
	}
}

// unreadable is an instance with a truncated answer.
func unreadable(t *testing.T, url string) {
	t.Helper()
	nc := connect(t, url)
	if _, err := nc.Subscribe("freshet.v1.instances.status", func(m *nats.Msg) {
		if err := m.Respond([]byte("{")); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestSurveyReturnsReadableAnswersWithTheError(t *testing.T) {
	ctx, s, nc := start(t)
	run(t, s.URL, "a")
	unreadable(t, s.URL)
	all, err := fleet.Survey(ctx, nc, fleet.SurveyOptions{})
	if len(all) != 1 || !errors.Is(err, fleet.ErrUnreadable) {
		t.Errorf("%v, %v", all, err)
	}
}

// Survey must distinguish a missing connection from a fleet without instances.
func TestSurveyWithoutAConnection(t *testing.T) {
	ctx, s, nc := start(t)
	silent(t, s.URL)
	ended, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := fleet.Survey(ended, nc, fleet.SurveyOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a deadline: %v", err)
	}
	s.Stop()
	eventually(t, ctx, "disconnected", func() bool { return !nc.IsConnected() })
	if _, err := fleet.Survey(ctx, nc, fleet.SurveyOptions{}); !errors.Is(err, fleet.ErrDisconnected) {
		t.Errorf("disconnected: %v", err)
	}
}
