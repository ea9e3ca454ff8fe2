package publisher_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/publisher"
)

const pinsPath = "/v1/datasets/prices/pins"

func TestPins(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	// The first publish writes journal entry 1, with the settings.
	for _, body := range []string{ndjson, ndjson + `{"id":"z9"}` + "\n"} {
		if rec := send(h, "POST", versions+"?key=id", body); rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	pins := func(method, body string, header ...string) publisher.DatasetPins {
		t.Helper()
		rec := send(h, method, pinsPath, body, header...)
		if rec.Code != 200 {
			t.Fatalf("%s %s: %d %s", method, body, rec.Code, rec.Body)
		}
		return decode[publisher.DatasetPins](t, rec)
	}
	if got := pins("GET", ""); len(got.Pins) != 0 || got.Entry != 0 {
		t.Errorf("no pins: %+v", got)
	}
	if got := pins("POST", `{"version":"1","all":true,"reason":"look","dry_run":true}`); *got.Changed || got.Set == nil || got.Set.Version != 1 || !got.DryRun || len(pins("GET", "").Pins) != 0 {
		t.Errorf("a dry run: %+v", got)
	}
	got := pins("POST", `{"version":"1","all":true,"by":"ann@host","reason":"wrong currency"}`, "Idempotency-Key", "r-1")
	if !*got.Changed || *got.Announced || got.Entry != 2 || len(got.Pins) != 1 || got.Pins[0].By != "ann@host" || got.Pins[0].Reason != "wrong currency" || got.Pins[0].ID.IsZero() {
		t.Errorf("a pin: %+v", got)
	}
	if got := pins("POST", `{"version":"1","all":true,"by":"ann@host","reason":"wrong currency"}`, "Idempotency-Key", "r-1"); *got.Changed || got.Entry != 2 {
		t.Errorf("a repeated request: %+v", got)
	}
	if got := pins("POST", `{"version":"1","all":true,"reason":"again"}`); *got.Changed || len(got.Pins) != 1 {
		t.Errorf("a pin that holds already: %+v", got)
	}
	got = pins("POST", `{"version":"2","labels":{"tier":"canary"},"reason":"try it"}`)
	if len(got.Pins) != 2 || got.Pins[1].Entry != 3 || got.Pins[1].Labels["tier"] != "canary" || len(got.Removed) != 0 {
		t.Errorf("a second pin: %+v", got)
	}
	got = pins("POST", `{"version":"2","all":true,"reason":"the new one"}`)
	if len(got.Pins) != 2 || got.Pins[1].Version != 2 || got.Pins[1].Entry != 4 || len(got.Removed) != 1 || got.Removed[0].Version != 1 {
		t.Errorf("a pin of the same instances: %+v", got)
	}
	got = pins("DELETE", `{"labels":{"tier":"canary"},"reason":"enough"}`)
	if !*got.Changed || len(got.Pins) != 1 || len(got.Removed) != 1 || got.Entry != 5 {
		t.Errorf("an unpin: %+v", got)
	}
	events := send(h, "GET", "/v1/datasets/prices/events", "").Body.String()
	if !strings.Contains(events, "wrong currency") || !strings.Contains(events, `"kind":"unpin"`) {
		t.Errorf("the events lack the pins: %s", events)
	}
	if got = pins("DELETE", `{"all":true,"reason":"done"}`); len(got.Pins) != 0 || len(pins("GET", "").Pins) != 0 {
		t.Errorf("an unpin of all: %+v", got)
	}
	if got = pins("DELETE", `{"all":true,"reason":"done"}`); *got.Changed || len(got.Pins) != 0 || got.Entry != 0 {
		t.Errorf("a repeated unpin of all: %+v", got)
	}
}

func TestPinsRefuse(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	if rec := send(h, "POST", versions+"?key=id", ndjson); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for body, want := range map[string]string{
		`{"version":"1","all":true}`:                                              "400 bad-pin: no reason",
		`{"version":"1","reason":"x"}`:                                            "400 bad-pin: chooses no instance",
		`{"version":"1","all":true,"instances":["a"],"reason":"x"}`:               "400 bad-pin: only in one of these ways",
		`{"version":"one","all":true,"reason":"x"}`:                               "400 bad-pin: version",
		`{"all":true,"reason":"x"}`:                                               "400 bad-pin: no version is named",
		`{"version":"7","all":true,"reason":"x"}`:                                 "404 unknown-version: its nearest version is 1",
		`{"version":"1@000000000000","all":true,"reason":"x"}`:                    "404 unknown-version: has the id",
		`{"version":"1","labels":{"Tier":"x"},"reason":"x"}`:                      "400 bad-pin: the name \"Tier\"",
		`{"version":"1","all":true,"reason":"x","force":true}`:                    "400 bad-json: unknown",
		`{"version":"1","all":true,"reason":"` + strings.Repeat("x", 2000) + `"}`: "400 bad-pin: reason has 2000 bytes",
	} {
		status, rest, _ := strings.Cut(want, " ")
		kind, text, _ := strings.Cut(rest, ": ")
		code := 400
		if status == "404" {
			code = 404
		}
		if p := wantProblem(t, send(h, "POST", pinsPath, body), code, kind); !strings.Contains(p.Detail, text) {
			t.Errorf("%.100s: %q, want %q", body, p.Detail, text)
		}
	}
	if p := wantProblem(t, send(h, "POST", "/v1/datasets/price/pins", `{"version":"1","all":true,"reason":"x"}`), 404, "unknown-dataset"); !strings.Contains(p.Detail, "did you mean prices?") {
		t.Errorf("a misspelt dataset: %s", p.Detail)
	}
	if p := wantProblem(t, send(h, "DELETE", pinsPath, `{"instances":["api-1"],"reason":"x"}`), 404, "unknown-pin"); !strings.Contains(p.Detail, "the dataset has no pins") {
		t.Errorf("no such pin: %s", p.Detail)
	}
	if rec := send(h, "GET", "/v1/datasets/price/pins", ""); rec.Code != 404 {
		t.Errorf("the pins of a misspelt dataset: %d", rec.Code)
	}
}

// A version whose snapshot is gone is refused, and a damaged entry with pins can be healed by the command that the message names.
func TestPinsOfADamagedStore(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	if rec := send(h, "POST", versions+"?key=id", ndjson); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "POST", pinsPath, `{"version":"1","all":true,"reason":"x"}`); rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if err := os.WriteFile(s.EntryPlace("prices", 2), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := wantProblem(t, send(h, "GET", pinsPath, ""), 500, "damaged-store"); !strings.Contains(p.Detail, "freshet unpin prices --all --reason TEXT") {
		t.Errorf("a damaged entry: %s", p.Detail)
	}
	rec := send(h, "DELETE", pinsPath, `{"all":true,"reason":"heal"}`)
	if got := decode[publisher.DatasetPins](t, rec); rec.Code != 200 || got.Entry != 3 || len(got.Pins) != 0 {
		t.Errorf("an unpin of all over a damaged entry: %d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "GET", versions, ""); rec.Code != 200 {
		t.Errorf("the versions beside a damaged entry: %d %s", rec.Code, rec.Body)
	}
	var latest dataset.VersionRecord
	if err := json.Unmarshal(send(h, "GET", versions+"/1", "").Body.Bytes(), &latest); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.ObjectPlace(latest.Snapshot.Digest)); err != nil {
		t.Fatal(err)
	}
	if p := wantProblem(t, send(h, "POST", pinsPath, `{"version":"1","all":true,"reason":"x"}`), 500, "lost-object"); !strings.Contains(p.Detail, "nothing was pinned") {
		t.Errorf("a lost version: %s", p.Detail)
	}
}
