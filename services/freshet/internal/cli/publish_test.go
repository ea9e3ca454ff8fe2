package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/overview"
	"freshet.dev/services/internal/web"
)

const (
	oldPrices = `{"sku":"A1","price":5}` + "\n" + `{"sku":"B2","price":7}` + "\n"
	newPrices = `{"sku":"A1","price":6}` + "\n" + `{"sku":"B2","price":7}` + "\n" + `{"sku":"C/3","price":1}` + "\n"
)

// TestPublishAndLookUp publishes as a pipeline does and looks up records as its users do.
func TestPublishAndLookUp(t *testing.T) {
	f := start(t, "prices")
	// An instance is blind until a beacon of the publisher has reported that there is no version yet.
	f.until(t, exit.OK, []string{"prices", "up-1", "up-2", "waiting"}, "status")
	f.run(t, "versions", "prices").want(t, exit.NotFound, "stderr:prices")
	f.run(t, "get", "prices", "A1").want(t, exit.Failure, "stderr:prices")

	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku", "--wait", "--label", "run=1").
		want(t, exit.OK, "stdout:prices version 1: 2 records (2 added, 0 changed, 0 removed)",
			"stdout:up-1 serves version 1, ", "stdout:up-2 serves version 1, ", "stdout: ms after it was committed, ",
			"stdout:every live instance (2) serves version 1")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", newPrices), "--key", "sku", "--wait", "--source", "me", "--label", "run=2", "--label", "by=x=y").
		want(t, exit.OK, "version 2: 3 records (1 added, 1 changed, 0 removed)")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", newPrices), "--key", "sku", "--wait").
		want(t, exit.OK, "prices is unchanged: version 2", "no version was created", "every live instance (2) serves version 2")

	if got := f.run(t, "get", "prices", "A1"); got.code != exit.OK || got.out != `{"sku":"A1","price":6}` || got.err != "" {
		t.Errorf("get prints %+v", got)
	}
	f.run(t, "get", "prices", "C/3").want(t, exit.OK, `stdout:{"sku":"C/3","price":1}`)
	f.run(t, "get", "prices", "D4").want(t, exit.NotFound, "stderr:D4")
	f.run(t, "get", "prices", "..").want(t, exit.NotFound, "stderr:..")
	f.run(t, "get", "cities", "A1").want(t, exit.NotFound, "stderr:cities")

	versions := f.run(t, "versions", "prices")
	versions.want(t, exit.OK, "stdout:run=1", "stdout:me", "stdout:by=x=y run=2")
	if lines := strings.Split(versions.out, "\n"); len(lines) != 4 || !strings.HasPrefix(strings.TrimSpace(lines[1]), "2 ") {
		t.Errorf("versions prints\n%s", versions.out)
	}
	f.run(t, "versions", "prices", "--limit", "1").want(t, exit.OK, "!run=1", "run=2")
	f.run(t, "status", "--wide").want(t, exit.OK, "fresh", "relay")
	f.run(t, "status", "cities").want(t, exit.NotFound, "stdout:cities", "(none)", "!prices", "stderr:there is no dataset cities")
	f.run(t, "status", "prices", "cities", "rules").want(t, exit.NotFound, "stdout:prices", "stderr:there is no dataset cities, rules")
}

func TestJSONOutput(t *testing.T) {
	f := start(t, "prices")
	var published struct {
		Created bool `json:"created"`
		Record  struct {
			Version uint64            `json:"version"`
			Labels  map[string]string `json:"labels"`
		} `json:"version_record"`
		Served []fleet.Report `json:"served"`
	}
	decode := func(r result, v any) {
		t.Helper()
		r.want(t, exit.OK)
		if err := json.Unmarshal([]byte(r.out), v); err != nil {
			t.Fatalf("%v in %s", err, r.out)
		}
	}
	decode(f.run(t, "publish", "prices", file(t, "p.json", "["+strings.ReplaceAll(strings.TrimSpace(oldPrices), "\n", ",")+"]"),
		"--key", "sku", "--label", "a=b", "--wait", "--output", "json"), &published)
	if !published.Created || published.Record.Version != 1 || published.Record.Labels["a"] != "b" || len(published.Served) != 2 {
		t.Errorf("publish prints %+v", published)
	}
	var versions []struct {
		Version uint64 `json:"version"`
	}
	decode(f.run(t, "versions", "prices", "-o", "json"), &versions)
	if len(versions) != 1 || versions[0].Version != 1 {
		t.Errorf("versions prints %+v", versions)
	}
	var status []overview.Dataset
	decode(f.run(t, "status", "-o", "json"), &status)
	if len(status) != 1 || status[0].Latest == nil || status[0].Latest.Version != 1 || len(status[0].Instances) != 2 ||
		status[0].Instances[0].Instance != "up-1" || status[0].Instances[0].State != fleet.Fresh {
		t.Errorf("status prints %+v", status)
	}
}

func TestPatch(t *testing.T) {
	f := start(t, "prices")
	patch := file(t, "patch.ndjson", `{"sku":"A1","price":6}`+"\n"+`{"sku":"B2","$remove":true}`+"\n"+`{"sku":"no","$remove":true}`+"\n")
	args := []string{"publish", "prices", patch, "--key", "sku", "--patch"}
	f.run(t, args...).want(t, exit.NotFound, "stderr:publish all of its records first")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku").want(t, exit.OK, "version 1")
	f.run(t, append(args, "--base", "1", "--wait")...).want(t, exit.OK, "stdout:prices version 2: 1 record (0 added, 1 changed, 1 removed)",
		"stdout:unchanged: 0, removals of keys that are not there: 1", "stdout:every live instance (2) serves version 2")
	f.run(t, "get", "prices", "A1").want(t, exit.OK, `stdout:{"sku":"A1","price":6}`)
	f.run(t, "get", "prices", "B2").want(t, exit.NotFound)
	f.run(t, append(args, "--base", "1")...).want(t, exit.Conflict, "stderr:the patch is for version 1, the newest is 2")
	f.run(t, args...).want(t, exit.OK, "stdout:the patch changes nothing in version 2")
	csv := file(t, "patch.csv", "sku,gone\nA1,0\nC3,\nD4,1\n")
	f.run(t, "publish", "prices", csv, "--key", "sku", "--patch", "--remove", "gone", "--wait").want(t, exit.OK, "stdout:version 3: 2 records (1 added, 1 changed, 0 removed)")
	f.run(t, append(args, "--base", "0")...).want(t, exit.Usage, "stderr:versions begin at 1")
	f.run(t, append(args, "--base", "3@0123")...).want(t, exit.Usage, "stderr:want 12 to 40 lower-case hex digits")
	f.run(t, append(args, "--base", "3@0123456789ab")...).want(t, exit.Conflict, "stderr:the patch is for version 3 (0123456789ab), the newest is 3 (", "stderr:the store was restored")
	shown := strings.Fields(strings.Split(f.run(t, "versions", "prices").out, "\n")[1]) // begins with the version, date, time and id
	f.run(t, append(args, "--base", shown[0]+"@"+shown[3])...).want(t, exit.OK, "stdout:version 4: ")
	f.run(t, "publish", "prices", patch, "--key", "sku", "--base", "1").want(t, exit.Usage, "stderr:add --patch")
	f.run(t, "publish", "prices", patch, "--key", "sku", "--patch", "--remove", "sku").want(t, exit.Usage, "stderr:named for both")
}

// Confirmed records create a version with an empty delta, which every instance serves.
func TestExpectEvery(t *testing.T) {
	f := start(t, "prices")
	args := []string{"publish", "prices", file(t, "prices.ndjson", newPrices), "--key", "sku", "--wait"}
	f.run(t, args...).want(t, exit.OK, "version 1")
	f.run(t, append(args, "--expect-every", "24h")...).want(t, exit.OK,
		"stdout:prices version 2: the same 3 records as in version 1, confirmed, ", "stdout:every live instance (2) serves version 2")
	f.run(t, args...).want(t, exit.OK, "prices is unchanged: version 2")
	f.run(t, "versions", "prices").want(t, exit.OK, "stdout:24h", "stdout:promise")
	f.run(t, append(args, "--patch", "--expect-every", "0")...).want(t, exit.OK, "stdout:prices version 3: the same 3 records", "stdout:every live instance (2) serves version 3")
	f.run(t, "get", "prices", "A1").want(t, exit.OK, `stdout:{"sku":"A1","price":6}`)
	f.run(t, append(args, "--expect-every", "1ms")...).want(t, exit.Usage, "stderr:every 1ms cannot be promised")
}

func TestPublishFormats(t *testing.T) {
	f := start(t, "prices")
	const csv = "sku,price\nA1,5\n"
	const want = `{"sku":"A1","price":"5"}`
	f.run(t, "publish", "prices", file(t, "prices.csv", csv), "--key", "sku", "--wait").want(t, exit.OK, "version 1")
	f.run(t, "get", "prices", "A1").want(t, exit.OK, "stdout:"+want)
	run(t.Context(), f.env, csv+"B2,6\n", "publish", "prices", "-", "--key", "sku", "--format", "csv", "--wait").want(t, exit.OK, "version 2")
	run(t.Context(), f.env, newPrices, "publish", "prices", "-", "--key", "sku", "--wait").want(t, exit.OK, "version 3")
}

func TestPublishRefused(t *testing.T) {
	f := start(t, "prices")
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"twice the same key": {oldPrices + oldPrices, "line 3"},
		"no key":             {oldPrices + `{"price":1}`, "line 3"},
		"broken line":        {oldPrices + `{"sku":`, "line 3"},
		"empty":              {"", "no record"},
		// Far more bytes than are in flight when the publisher answers.
		"early in a long input": {"{\n" + strings.Repeat(`{"sku":"A1","price":5}`+"\n", 2_000_000), "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			f.run(t, "publish", "prices", file(t, "p.ndjson", c.text), "--key", "sku").
				want(t, exit.Refused, "stderr:"+c.want, "stderr:nothing was published", "stdout:!version")
		})
	}
	f.run(t, "versions", "prices").want(t, exit.NotFound)
}

// TestWaitTimesOut waits for an instance that never serves the version.
func TestWaitTimesOut(t *testing.T) {
	f := start(t, "prices")
	conn, err := nats.Connect(f.at.NATS)
	if err != nil {
		t.Fatal(err)
	}
	responder := fleet.NewResponder(conn, "", func() fleet.Status {
		return fleet.Status{Instance: "straggler", Datasets: []fleet.DatasetStatus{
			{Dataset: "prices", State: fleet.Failing, Error: "disk on fire"},
		}}
	})
	ended := make(chan error, 1)
	go func() { ended <- responder.Run(t.Context()) }()
	defer func() {
		conn.Close()
		<-ended
	}()
	for !strings.Contains(f.run(t, "status").out, "straggler") { // until it answers
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
	}
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait", "--wait-timeout", "1500ms").
		want(t, exit.TimedOut, "stdout:prices version 1", "up-1 serves", "up-2 serves", "stderr:warning: straggler does not serve version 1 yet: disk on fire",
			"stderr:version 1 is published", "stdout:!straggler", "stdout:!every live instance")
	r := f.run(t, "publish", "prices", file(t, "p.ndjson", newPrices), "--key", "sku", "--wait", "--wait-timeout", "1500ms", "-o", "json")
	r.want(t, exit.TimedOut, "stderr:straggler")
	if !json.Valid([]byte(r.out)) || !strings.Contains(r.out, "up-2") || strings.Contains(r.out, "straggler") {
		t.Errorf("prints %s", r.out)
	}
}

// TestWaitTellsWhoRefuses has an instance that cannot load the version. Its report has the error, its status does not. The wait prints
// a warning long before it times out.
func TestWaitTellsWhoRefuses(t *testing.T) {
	f := start(t, "prices")
	conn, err := nats.Connect(f.at.NATS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	answer, err := json.Marshal(fleet.Status{Instance: "stubborn", Datasets: []fleet.DatasetStatus{{Dataset: "prices", State: fleet.Refreshing}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Subscribe("freshet.v1.instances.status", func(m *nats.Msg) {
		if err := m.Respond(answer); err != nil {
			t.Error(err)
		}
		// A report of a state is not about a version, and prints no line.
		for _, r := range []fleet.Report{
			{Kind: fleet.OfState, Instance: "stubborn", Dataset: "prices", Version: 1, State: fleet.Failing},
			{Kind: fleet.OfFailure, Instance: "stubborn", Dataset: "prices", Version: 1, Error: "no room for it"},
		} {
			if err := fleet.SendReport(conn, "", r); err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait", "--wait-timeout", "1500ms").
		want(t, exit.TimedOut, "stdout:up-1 serves version 1", "stderr:warning: stubborn does not serve version 1 yet: no room for it\n",
			"stderr:stubborn (refreshing, serves 0, last error: no room for it)", "stdout:!stubborn")
}

func TestWaitWithoutInstances(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "cities", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").
		want(t, exit.NoInstance, "stdout:cities version 1", "stderr:no live instance has the dataset cities", "stderr:FRESHET_DATASETS")
}

// TestInputThatCannotBeRead has an input that fails half-way.
func TestInputThatCannotBeRead(t *testing.T) {
	f := start(t, "prices")
	in := io.MultiReader(strings.NewReader(oldPrices), iotest.ErrReader(errors.New("disk on fire")))
	var out, errs strings.Builder
	code := Run(t.Context(), Process{
		In: in, Out: &out, Err: &errs, Command: "freshet", LookupEnv: func(name string) (string, bool) { return f.env[name], true },
	}, []string{"publish", "prices", "-", "--key", "sku"})
	result{code, out.String(), errs.String()}.want(t, exit.Failure, "stderr:read the input: disk on fire; nothing was published")
	f.run(t, "versions", "prices").want(t, exit.NotFound)
}

// TestAnswersOfThePublisher has a fake publisher with answers that a real publisher seldom gives.
func TestAnswersOfThePublisher(t *testing.T) {
	prices := file(t, "p.ndjson", oldPrices)
	for name, c := range map[string]struct {
		answer error
		code   exit.Code
		want   string
	}{
		"conflict": {web.Refuse(http.StatusConflict, "conflict", "dataset %q: other publishers were faster", "prices"), exit.Conflict, "were faster"},
		"busy":     {web.Unavailable("busy", 5, nil, "2 publishes are in progress"), exit.Failure, "2 publishes are in progress"},
		"failed":   {errors.New("disk on fire"), exit.Failure, "log"},
	} {
		t.Run(name, func(t *testing.T) {
			mux := web.NewMux(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), web.AlwaysReady)
			mux.Handle("POST /v1/datasets/{name}/versions", func(http.ResponseWriter, *http.Request) error { return c.answer })
			server := httptest.NewServer(mux)
			defer server.Close()
			run(t.Context(), nil, "", "publish", "prices", prices, "--key", "sku", "--publisher", server.URL).want(t, c.code, "stderr:"+c.want)
		})
	}
	t.Run("another program", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "<html>nothing here")
		}))
		defer server.Close()
		run(t.Context(), nil, "", "publish", "prices", prices, "--publisher", server.URL).
			want(t, exit.Failure, "stderr:is it a freshet publisher?", "stderr:nothing here", "stderr:"+server.URL)
		run(t.Context(), nil, "", "get", "prices", "A1", "--server", server.URL).want(t, exit.Failure, "stderr:is it a freshet server?")
	})
}

// TestNothingListens uses addresses on which nothing listens.
func TestNothingListens(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	nowhere := server.URL
	prices := file(t, "p.ndjson", oldPrices)
	secret := "nats://user:hunter2@" + strings.TrimPrefix(nowhere, "http://")
	for _, args := range [][]string{
		{"publish", "prices", prices, "--publisher", nowhere},
		{"versions", "prices", "--publisher", nowhere},
		{"get", "prices", "A1", "--server", nowhere},
		{"status", "--nats", secret},
		{"publish", "prices", prices, "--wait", "--nats", secret},
	} {
		flag := args[len(args)-2]
		run(t.Context(), nil, "", args...).want(t, exit.Failure, "stderr:cannot reach", "stderr:"+flag, "!hunter2", "stdout:!version")
	}
}

// TestStatusWithoutThePublisher shows the instances when the publisher does not answer.
func TestStatusWithoutThePublisher(t *testing.T) {
	f := start(t, "prices")
	server := httptest.NewServer(nil)
	server.Close()
	f.run(t, "status", "--publisher", server.URL).want(t, exit.Failure, "stdout:up-1", "stderr:cannot reach the publisher")
}

// endless yields records without an end. It calls begun at each read.
type endless struct{ begun func() }

func (e endless) Read(p []byte) (int, error) {
	e.begun()
	return copy(p, `{"sku":"A1","price":5}`+"\n"), nil
}

// TestInterruptedPublish cancels a publish whose input does not end.
func TestInterruptedPublish(t *testing.T) {
	f := start(t, "prices")
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs strings.Builder
	code := Run(ctx, Process{
		In: endless{begun: cancel}, Out: &out, Err: &errs, Command: "freshet",
		LookupEnv: func(name string) (string, bool) { return f.env[name], true },
	}, []string{"publish", "prices", "-", "--key", "sku"})
	result{code, out.String(), errs.String()}.want(t, exit.Interrupted, "stderr:publish: interrupted", "stdout:!version")
	f.run(t, "versions", "prices").want(t, exit.NotFound)
}
