package publisher_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
	"freshet.dev/services/publisher"
)

const replayPath = "/v1/datasets/prices/replay"

// replayLines returns the lines of an answer, without those that say only that the replay goes on.
func replayLines(t *testing.T, rec *httptest.ResponseRecorder) (all []publisher.ReplayLine) {
	t.Helper()
	for lines := bufio.NewScanner(rec.Body); lines.Scan(); {
		var l publisher.ReplayLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		if l != (publisher.ReplayLine{}) {
			all = append(all, l)
		}
	}
	return all
}

// natsPublisher returns a publisher with a dataset of two versions and a nats-server, and a connection of the test.
func natsPublisher(t *testing.T) (h http.Handler, server *servertest.NATSServer, nc *nats.Conn) {
	t.Helper()
	server = servertest.NATS(t)
	connect := func() *nats.Conn {
		nc, err := nats.Connect(server.URL, nats.MaxReconnects(-1), nats.ReconnectWait(2*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	h = newPublisher(t, openStore(t), func(_ *publisher.Config, d *publisher.Deps) { d.NATS = connect() }).Handler()
	for _, body := range []string{ndjson, ndjson + `{"id":"new"}` + "\n"} {
		if rec := send(h, "POST", versions+"?key=id", body); rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	return h, server, connect()
}

// replayInstance runs a fake instance, which serves version 2 and answers requests for replays with the report.
func replayInstance(t *testing.T, nc *nats.Conn, name string, report fleet.ReplayReport) {
	t.Helper()
	status := fleet.Status{Instance: name, Run: "RUN" + name, Labels: map[string]string{"tier": name}, Datasets: []fleet.DatasetStatus{{Dataset: "prices", Version: 2}}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	before := nc.NumSubscriptions()
	go func() { done <- fleet.NewResponder(nc, "", func() fleet.Status { return status }).Run(ctx) }()
	go func() {
		done <- fleet.NewReplayResponder(nc, "", status.Run, func(fleet.ReplayRequest) fleet.ReplayReport { return report }).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	for until := time.Now().Add(time.Minute); nc.NumSubscriptions() < before+3; {
		if time.Now().After(until) {
			t.Fatal("the instance does not subscribe")
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestReplayInstances(t *testing.T) {
	h, _, nc := natsPublisher(t)
	replayInstance(t, nc, "a", fleet.ReplayReport{State: fleet.ReplayDone, Version: 2, Full: true, PulledBytes: 7, Callbacks: 1})
	replayInstance(t, nc, "b", fleet.ReplayReport{State: fleet.ReplayFailed, Version: 2, Error: "no relay"})
	rec := send(h, "POST", replayPath, `{"all":true,"version":"2","full":true,"by":"ann","reason":"a test","wait_seconds":30}`, "Idempotency-Key", "r-1")
	lines := replayLines(t, rec)
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/x-ndjson" || len(lines) != 4 {
		t.Fatalf("%d %v %+v", rec.Code, rec.Header(), lines)
	}
	if b := lines[0].Begun; b == nil || b.RequestID != "r-1" || b.Entry != 2 || b.Instances != 2 {
		t.Errorf("%+v", b)
	}
	states := map[string]fleet.ReplayState{}
	for _, l := range lines[1:3] {
		states[l.Instance.Instance] = l.Instance.State
	}
	if states["a"] != fleet.ReplayDone || states["b"] != fleet.ReplayFailed {
		t.Errorf("%v", states)
	}
	if r := lines[3].Result; r == nil || r.Instances != 2 || r.Done != 1 || r.RequestID != "r-1" || r.Problem != nil || r.Dataset != "prices" {
		t.Errorf("%+v", r)
	}
	rec = send(h, "POST", replayPath, `{"labels":{"tier":"a"},"dry_run":true}`)
	if lines = replayLines(t, rec); len(lines) != 3 || lines[1].Instance.State != "planned" || !lines[2].Result.DryRun || lines[2].Result.Done != 1 || lines[0].Begun.Entry != 0 {
		t.Errorf("a dry run: %d %+v", rec.Code, lines)
	}
	if rec := send(h, "GET", "/v1/datasets/prices/events", ""); strings.Count(rec.Body.String(), `"kind":"replay"`) != 1 || !strings.Contains(rec.Body.String(), `"reason":"a test"`) {
		t.Errorf("the events are %s", rec.Body)
	}
	for body, want := range map[string]string{
		`{"instances":["c"]}`:                     "404 unknown-instance",
		`{"labels":{"tier":"c"}}`:                 "404 unknown-instance",
		`{"all":true,"version":"3"}`:              "404 unknown-version",
		`{"all":true,"version":"2@0123456789ab"}`: "404 unknown-version",
	} {
		status, kind, _ := strings.Cut(want, " ")
		if rec := send(h, "POST", replayPath, body); status != "404" || !strings.Contains(rec.Body.String(), kind) || rec.Code != 404 {
			t.Errorf("%s: %d %s, want %s", body, rec.Code, rec.Body, want)
		}
	}
	wantProblem(t, send(h, "POST", "/v1/datasets/price/replay", `{"all":true}`), 404, "unknown-dataset")
	wantProblem(t, send(h, "POST", replayPath, `{"all":true}`, "Idempotency-Key", "r-1"), 422, "request-id-reused")
}

func TestReplayRefuses(t *testing.T) {
	h, server, nc := natsPublisher(t)
	for body, want := range map[string]string{
		`{}`:                                                       "chooses no instance",
		`{"all":true,"labels":{"a":"b"}}`:                          "only in one of these ways",
		`{"all":true,"to_subject":"x"}`:                            "to instances or to a subject",
		`{"all":true,"since":"2h"}`:                                "are for a replay to a subject",
		`{"all":true,"to_version":2}`:                              "are for a replay to a subject",
		`{"all":true,"wait_seconds":-1}`:                           "wait_seconds",
		`{"all":true,"version":"x"}`:                               "names no version",
		`{"to_subject":"freshet.v1.ns.other.datasets.prices"}`:     "reach instances",
		`{"to_subject":"x","version":"1","from_version":1}`:        "the only version",
		`{"to_subject":"x","version":"1@0123456789ab"}`:            "number alone",
		`{"to_subject":"x","rate":1e9}`:                            "the rate",
		`{"to_subject":"x","since":"yesterday"}`:                   "since is",
		`{"all":true,"reason":"two` + "\\n" + `lines"}`:            "control character",
		`{"everything":true}`:                                      "unknown",
		`{"all":true,"reason":"` + strings.Repeat("a", 2000) + `"`: "JSON",
	} {
		if rec := send(h, "POST", replayPath, body); rec.Code != 400 || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%.80s: %d %s, want %s", body, rec.Code, rec.Body, want)
		}
	}
	plain := newPublisher(t, openStore(t), nil).Handler()
	wantProblem(t, send(plain, "POST", replayPath, `{"all":true}`), 501, "no-nats")
	server.Kill()
	for until := time.Now().Add(time.Minute); nc.IsConnected(); {
		if time.Now().After(until) {
			t.Fatal("the client does not notice")
		}
	}
	rec := send(h, "POST", replayPath, `{"to_subject":"prices.history"}`)
	if !strings.Contains(rec.Body.String(), "nats-unavailable") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "GET", "/v1/datasets/prices/events", ""); strings.Contains(rec.Body.String(), `"kind":"replay"`) {
		t.Error("a refused replay has an entry")
	}
}

func TestReplayToASubject(t *testing.T) {
	h, server, nc := natsPublisher(t)
	sub, err := nc.SubscribeSync("prices.history")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := replayLines(t, send(h, "POST", replayPath, `{"to_subject":"prices.history","from_version":1,"rate":1000,"by":"ann"}`, "Idempotency-Key", "r-1"))
	last := lines[len(lines)-1].Result
	if b := lines[0].Begun; b.First != 1 || b.Last != 2 || b.Versions != 2 || last == nil || last.Sent.Events != 2 || last.Problem != nil {
		t.Errorf("%+v", lines)
	}
	for _, id := range []string{"r-1/prices/1", "r-1/prices/2"} {
		m, err := sub.NextMsg(time.Minute)
		if err != nil || m.Header.Get(nats.MsgIdHdr) != id || m.Header.Get(events.ReplayHeader) != "r-1" {
			t.Fatalf("%+v, %v, want %s", m, err, id)
		}
	}
	one := replayLines(t, send(h, "POST", replayPath, `{"to_subject":"prices.history","version":"2"}`))
	if r := one[len(one)-1].Result; r.Sent.Events != 1 || r.Sent.First != 2 {
		t.Errorf("%+v", r)
	}
	// An outage in the middle is the problem of the last line, and says how far it came.
	go func() {
		if _, err := sub.NextMsg(time.Minute); err == nil { // that of the version before
			_, _ = sub.NextMsg(time.Minute)
		}
		server.Kill()
	}()
	lines = replayLines(t, send(h, "POST", replayPath, `{"to_subject":"prices.history","rate":0.5}`))
	last = lines[len(lines)-1].Result
	if last == nil || last.Problem == nil || !strings.Contains(string(last.Problem), "nats-unavailable") || last.Sent.Events > 1 {
		t.Errorf("%+v", last)
	}
}
