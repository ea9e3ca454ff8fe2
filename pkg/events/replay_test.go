package events_test

import (
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/events"
)

func TestReplaySubjects(t *testing.T) {
	for _, good := range []string{"prices", "prices.history", "freshets.prices", "a.freshet.b", "prix.été"} {
		if err := events.CheckReplaySubject(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"": "empty", "freshet": "reach instances", "freshet.v1.datasets.prices": "reach instances", "freshet.v1.ns.test.datasets.prices": "reach instances",
		"Freshet.x": "reach instances", "$JS.API.STREAM.DELETE.FRESHET": "NATS server", "$SYS.x": "NATS server", "_INBOX.a.b": "inbox", "_R_.x": "inbox",
		"a.*": "wildcard", "a.>": "wildcard", ">": "wildcard", "a..b": "empty part", ".a": "empty part", "a.": "empty part", "a b": "space", "a\tb": "space",
		"a\r\nPUB freshet.v1.beacon 0": "control character", "a\x00b": "control character", "\xff": "control character", strings.Repeat("a", 300): "300 bytes",
	} {
		if err := events.CheckReplaySubject(bad); !errors.Is(err, events.ErrSubject) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", bad, err, want)
		}
	}
}

// A replayed event that reaches an instance's subject, by a subject mapping for example, is ignored.
func TestReplayedEventsAreIgnored(t *testing.T) {
	ctx, _, nc, log := start(t)
	l, _ := listen(t, ctx, nc, events.ListenerConfig{}, "prices")
	expectCatchUp(t, ctx, l, "")
	m := must(events.ReplayMessage("prices.history", "r-1", record("prices", 7)))(t)
	m.Subject = "freshet.v1.datasets.prices"
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	if err := log.Announce(ctx, record("prices", 3)); err != nil {
		t.Fatal(err)
	}
	if rec := receive(t, ctx, "the version", l.Versions()); rec.Version != 3 {
		t.Errorf("version %d arrives, want 3", rec.Version)
	}
}
