package events_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestLatestOfManyDatasets(t *testing.T) {
	ctx, _, nc, log := start(t)
	const datasets = events.BatchSubjects + 88
	names := make([]string, datasets)
	for i := range names {
		names[i] = fmt.Sprintf("dataset-%03d", i)
		if i%10 != 9 { // every tenth has no version
			announce(t, ctx, log, names[i], 1, uint64(i+2))
		}
	}
	before := nc.Stats().OutMsgs
	latest, err := log.Latest(ctx, names)
	if err != nil {
		t.Fatal(err)
	}
	// The stream's info, and two batches.
	if sent := nc.Stats().OutMsgs - before; sent != 3 {
		t.Errorf("%d requests for %d datasets, want 3", sent, datasets)
	}
	for i, name := range names {
		rec, ok := latest[name]
		if ok != (i%10 != 9) || ok && rec.Version != uint64(i+2) {
			t.Errorf("%s: version %d, %v", name, rec.Version, ok)
		}
	}
}

func TestLatestWithoutALog(t *testing.T) {
	ctx, _, nc, log := start(t)
	empty := func(state string) {
		t.Helper()
		latest, err := log.Latest(ctx, []string{"cities"})
		if err != nil || len(latest) != 0 {
			t.Errorf("%s: %v, %v", state, latest, err)
		}
	}
	empty("no stream")
	if err := log.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	empty("no event")
	announce(t, ctx, log, "prices", 1)
	empty("no event of the dataset")
	if err := api(t, nc).DeleteStream(ctx, "FRESHET"); err != nil {
		t.Fatal(err)
	}
	empty("the stream is gone")
	if _, err := log.Latest(ctx, []string{"freshet.>"}); !errors.Is(err, dataset.ErrName) {
		t.Errorf("a wildcard for a name: %v", err)
	}
}

func TestLatestNamesTheDatasetsThatAreUnreadable(t *testing.T) {
	ctx, _, nc, log := start(t)
	names := []string{"cities", "prices", "rules"}
	for _, name := range names {
		announce(t, ctx, log, name, 1)
	}
	event := must(dataset.EncodeEvent(record("rules", 7)))(t)
	must(api(t, nc).Publish(ctx, "freshet.v1.versions.prices", event))(t) // readable, but on another dataset's subject
	must(api(t, nc).Publish(ctx, "freshet.v1.versions.cities", []byte("{}")))(t)
	latest, err := log.Latest(ctx, names)
	if len(latest) != 1 || latest["rules"].Version != 1 {
		t.Errorf("the readable ones are %v", latest)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 2 {
		t.Fatalf("the error is %v", err)
	}
	for _, err := range joined.Unwrap() {
		var e *events.EventError
		if !errors.As(err, &e) || e.Dataset == "rules" || !errors.Is(err, dataset.ErrEvent) {
			t.Errorf("the error is %v", err)
		}
	}
}

// Latest queries the leader for everything that a replica lacks: here all of the replica's stream counts as outdated.
func TestLatestDoesNotTrustAReplicaThatLags(t *testing.T) {
	ctx, _, nc, log := start(t)
	announce(t, ctx, log, "cities", 1)
	info := stream(t, ctx, nc).CachedInfo()
	names := []string{"cities", "prices"}
	for what, change := range map[string]func(*jetstream.StreamInfo) uint64{
		"up to date":    func(*jetstream.StreamInfo) uint64 { return 1 },
		"lags":          func(i *jetstream.StreamInfo) uint64 { i.State.LastSeq++; return 3 },
		"no direct get": func(i *jetstream.StreamInfo) uint64 { i.Config.AllowDirect = false; return 2 },
	} {
		asked := *info
		want := change(&asked)
		before := nc.Stats().OutMsgs
		messages, err := log.LastOfEach(ctx, names, &asked)
		if err != nil || len(messages) != 1 || messages[0].Sequence != 1 {
			t.Errorf("%s: %v, %v", what, messages, err)
		}
		if sent := nc.Stats().OutMsgs - before; sent != want {
			t.Errorf("%s: %d requests, want %d", what, sent, want)
		}
	}
}

// Latest must not accept a truncated batch, with which an instance would miss versions silently.
func TestDirectGetRecognizesACompleteAnswer(t *testing.T) {
	ctx, s, _, _ := start(t)
	nc := connect(t, s.URL)
	log := newLog(t, nc, events.Config{Stream: "FAKE"})
	message := nats.Header{"Nats-Subject": {"freshet.v1.versions.cities"}, "Nats-Sequence": {"5"}, "Nats-Num-Pending": {"0"}}
	end := func(status, description, pending, upTo string) nats.Header {
		return nats.Header{"Status": {status}, "Description": {description}, "Nats-Num-Pending": {pending}, "Nats-UpTo-Sequence": {upTo}}
	}
	answers := make(chan []nats.Header, 1)
	must(nc.Subscribe("$JS.API.DIRECT.GET.FAKE", func(m *nats.Msg) {
		for _, h := range <-answers {
			if err := m.RespondMsg(&nats.Msg{Header: h}); err != nil {
				t.Error(err)
			}
		}
	}))(t)
	for name, tc := range map[string]struct {
		answer []nats.Header
		want   string // in the error; none if empty
	}{
		"whole":          {[]nats.Header{message, end("204", "EOB", "0", "9")}, ""},
		"cut by size":    {[]nats.Header{message, end("204", "EOB", "3", "9")}, "lacks 3 messages"},
		"too many":       {[]nats.Header{end("413", "Too Many Results", "", "")}, "413"},
		"no such thing":  {[]nats.Header{end("408", "Empty Request", "", "")}, "408"},
		"no results":     {[]nats.Header{end("404", "No Results", "", "")}, "404"},
		"old server":     {[]nats.Header{{"Nats-Subject": {"x"}}}, "without its sequence"},
		"no end":         {[]nats.Header{message}, "without the end"},
		"no end at all":  {nil, "without the end"},
		"no progress to": {[]nats.Header{end("204", "EOB", "0", "")}, "invalid syntax"},
	} {
		t.Run(name, func(t *testing.T) {
			answers <- tc.answer
			messages, upTo, err := log.DirectLast(ctx, []string{"cities"})
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%d messages, %v, want an error with %q", len(messages), err, tc.want)
				}
				return
			}
			if err != nil || len(messages) != 1 || upTo != 9 {
				t.Errorf("%d messages up to %d, %v", len(messages), upTo, err)
			}
		})
	}
}

func TestLatestAfterARestart(t *testing.T) {
	ctx, s, _, log := start(t)
	announce(t, ctx, log, "cities", 1, 2)
	for _, end := range []func(){s.Stop, s.Kill} {
		end()
		s.Start()
		eventually(t, ctx, "the log answers", func() bool {
			latest, err := log.Latest(ctx, []string{"cities"})
			return err == nil && latest["cities"].Version == 2
		})
	}
}

func TestNewLogRefusesNegativeSettings(t *testing.T) {
	_, _, nc, _ := start(t)
	for _, cfg := range []events.Config{{Replicas: -1}, {Keep: -1}} {
		if _, err := events.NewLog(nc, cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
