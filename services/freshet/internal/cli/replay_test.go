package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// replayLines returns the lines of a replay with --output json.
func (r result) replayLines(t *testing.T) (all []publisher.ReplayLine) {
	t.Helper()
	for line := range strings.Lines(r.out) {
		var l publisher.ReplayLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, l)
	}
	return all
}

func TestReplayCommand(t *testing.T) {
	f := start(t, "prices")
	replay := func(args ...string) result {
		t.Helper()
		return f.run(t, append([]string{"replay", "prices"}, args...)...)
	}
	replay("--all").want(t, exit.NotFound, "stderr:dataset prices has no version")
	for _, text := range []string{priceList(300), priceList(301)} {
		f.run(t, "publish", "prices", file(t, "p.ndjson", text), "--wait").want(t, exit.OK)
	}
	replay("--all", "--reason", "stale", "--by", "ann").want(t, exit.OK, "stdout:up-1 ", "stdout:up-2 ", "stdout: done ", "!silent")
	full := replay("--instance", "up-1", "--full", "--version", "2", "--output", "json", "--request-id", "r-1")
	full.want(t, exit.OK)
	lines := full.replayLines(t)
	if len(lines) != 3 || lines[0].Begun.RequestID != "r-1" || lines[1].Instance.Instance != "up-1" || lines[1].Instance.State != fleet.ReplayDone ||
		!lines[1].Instance.Full || lines[1].Instance.PulledBytes == 0 || lines[2].Result.Done != 1 {
		t.Errorf("%s", full.out)
	}
	replay("--instance", "up-1", "--full", "--version", "2", "--request-id", "r-1").want(t, exit.OK, "stdout:an earlier request with this id did it")
	f.run(t, "get", "prices", "300").want(t, exit.OK, `stdout:{"key":"300","cents":300}`)

	// Some did not: who, why, and the command that goes on.
	some := replay("--all", "--version", "1", "--request-id", "r-2")
	some.want(t, exit.TimedOut, "stdout:refused", "stdout:version 2 is served, and not version 1", "stderr:2 of 2 did not: up-1 (refused: version 2 is served", "!run it again")
	replay("--all", "--version", "1", "--dry-run").want(t, exit.OK, "stdout:refused", "stdout:it serves version 2")
	replay("--all", "--full", "--dry-run").want(t, exit.OK, "stdout:planned", "stdout: 2 ")

	replay("--instance", "up-3").want(t, exit.NotFound, "stderr:no instance up-3 answers (did you mean up-1 or up-2?)")
	replay("--label", "tier=canary").want(t, exit.NotFound, "stderr:no instance has the labels tier=canary")
	replay("--all", "--version", "3").want(t, exit.NotFound, "stderr:has no version 3; the newest is 2")
	f.run(t, "replay", "price", "--all").want(t, exit.NotFound, "stderr:did you mean prices?")
	replay().want(t, exit.Usage, "stderr:choose instances with one of --instance, --label and --all")
	for flag, text := range map[string]string{
		"--since=2h": "--to-subject", "--to-version=2": "--to-subject", "--rate=3": "--to-subject", "--from-version=0": "versions begin at 1", "--version=x": "names no version",
		"--wait-timeout=1ms": "want 1s to 24h", "--to-subject=x": "excludes", "--request-id=a b": "request id",
	} {
		replay("--all", flag).want(t, exit.Usage, "stderr:"+text)
	}
	replay("--to-subject", "freshet.v1.datasets.prices").want(t, exit.Usage, "stderr:old events would reach instances")

	shown := f.run(t, "events", "prices")
	shown.want(t, exit.OK, "stdout:replay", "stdout:the served version to all instances (2)", "stdout:stale",
		"stdout:version 2 to instance up-1 (1), full")
	if n := strings.Count(shown.out, " replay "); n != 3 {
		t.Errorf("%d replays are events: %s", n, shown.out)
	}
}

func TestReplayToASubject(t *testing.T) {
	f := start(t, "prices")
	for i := range 3 {
		f.run(t, "publish", "prices", file(t, "p.ndjson", priceList(300+i))).want(t, exit.OK)
	}
	nc, err := nats.Connect(f.at.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("prices.history")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) result {
		t.Helper()
		return f.run(t, append([]string{"replay", "prices", "--to-subject", "prices.history"}, args...)...)
	}
	run("--dry-run").want(t, exit.OK, "stdout:3 events would be sent to prices.history, versions 1 to 3")
	run("--from-version", "2", "--rate", "1000").want(t, exit.OK, "stdout:2 events sent to prices.history, versions 2 to 3")
	for _, version := range []uint64{2, 3} {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := dataset.DecodeEvent(m.Data); err != nil || rec.Version != version {
			t.Errorf("%+v, %v, want version %d", rec, err, version)
		}
	}
	run("--version", "1", "--output", "json").want(t, exit.OK, `stdout:"sent":{"events":1,"first":1,"last":1}`)
	run("--since", "1h").want(t, exit.OK, "stdout:3 events sent")
	run("--since", "0s").want(t, exit.OK, "stdout:0 events sent to prices.history\n")
	run("--from-version", "4").want(t, exit.NotFound, "stderr:has no version 4")
	f.run(t, "events", "prices").want(t, exit.OK, "stdout:versions 2 to 3 to subject prices.history")
}
