package publisher_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/services/publisher"
	"github.com/nats-io/nats.go"
)

const settingsPath = "/v1/datasets/prices/settings"

func TestSettings(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	rec := send(h, "PATCH", settingsPath, `{"settings":{"min_records":2,"max_more_records_percent":10},"by":"ann@host","reason":"a <test>"}`, "Idempotency-Key", "r-1")
	got := decode[publisher.DatasetSettings](t, rec)
	if rec.Code != 200 || !*got.Changed || *got.Announced || got.Entry != 1 || got.By != "ann@host" || got.Reason != "a <test>" || got.Version != 0 ||
		len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "dataset prices has no version yet") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "POST", versions+"?key=id", ndjson); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	rec = send(h, "PATCH", settingsPath, `{"settings":{"min_records":2},"reason":"again"}`)
	if got = decode[publisher.DatasetSettings](t, rec); rec.Code != 200 || *got.Changed || got.Entry != 2 || got.Reason != "set by the first publish" || got.Version != 1 || len(got.Warnings) > 0 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	rec = send(h, "PATCH", settingsPath, `{"settings":{"min_records":null},"reason":"no more"}`)
	got = decode[publisher.DatasetSettings](t, rec)
	if rec.Code != 200 || !*got.Changed || got.Entry != 3 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	rec = send(h, "PATCH", settingsPath, `{"settings":{"min_records":2,"max_more_records_percent":10},"by":"ann@host","reason":"a <test>"}`, "Idempotency-Key", "r-1")
	if got = decode[publisher.DatasetSettings](t, rec); rec.Code != 200 || *got.Changed || got.Entry != 1 || len(got.Warnings) != 1 {
		t.Errorf("a request that is repeated late: %d %s", rec.Code, rec.Body)
	}
	rec = send(h, "GET", settingsPath, "")
	var plain map[string]json.RawMessage
	if err := json.Unmarshal(rec.Body.Bytes(), &plain); err != nil || rec.Code != 200 || string(plain["settings"]) != `{"keep_for":"30d","keep_versions":10,"key":"id","max_more_records_percent":10,"number_keys":"plain"}` ||
		string(plain["entry"]) != "3" || plain["changed"] != nil || string(plain["version"]) != "1" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "POST", "/v1/datasets/cities/versions?key=id", ndjson); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "GET", "/v1/datasets/cities/settings", ""); rec.Code != 200 || !strings.Contains(rec.Body.String(), `"settings":{"keep_for":"30d","keep_versions":10,"key":"id","number_keys":"plain"},"entry":1`) {
		t.Errorf("a dataset for which nobody set anything: %d %s", rec.Code, rec.Body)
	}
}

func TestSettingsRefuse(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	if rec := send(h, "POST", versions+"?key=id", ndjson); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for body, want := range map[string]string{
		`{"settings":{"min_recods":2},"reason":"x"}`:                                          "bad-settings: did you mean min_records?",
		`{"settings":{"min_records":"2"},"reason":"x"}`:                                       "bad-settings: want a whole number",
		`{"settings":{"min_records":2}}`:                                                      "bad-settings: no reason",
		`{"reason":"x"}`:                                                                      "bad-settings: no setting is named",
		`{"settings":{"min_records":2},"reason":"x","force":true}`:                            "bad-json: unknown",
		`{"settings":[],"reason":"x"}`:                                                        "bad-json: an array",
		`{"settings":{"min_records":3,"max_records":2},"reason":1}`:                           "bad-json: a number",
		`{"settings":{"min_records":3,"max_records":2},"reason":"x"}`:                         "bad-settings: no dataset meets both",
		`{"settings":{"min_records":3},"reason":"x","by":"` + strings.Repeat("a", 300) + `"}`: "bad-settings: by has 300 bytes",
		`{"settings":{"min_records":3,"min_records":4},"reason":"x"}`:                         "bad-json: duplicate",
		`{"settings":{"min_records":3},"reason":"` + strings.Repeat("a", 70_000) + `"}`:       "too-large: 65536 bytes",
		`{"settings":{"a` + strings.Repeat("b", 100) + `":3},"reason":"x"}`:                   "bad-settings: there is no setting",
		`{"settings":{"max_fewer_records_percent":"10%"},"reason":"x"}`:                       "bad-settings: without a % sign",
		`{"settings":{"max_fewer_records_percent":101},"reason":"x"}`:                         "bad-settings: the most is 100",
		`{"settings":{"retention":null},"reason":"x"}`:                                        "bad-settings: there is no setting",
		`{"settings":{"min_records":3},"reason":"two` + "\\n" + `lines"}`:                     "bad-settings: control character",
	} {
		kind, text, _ := strings.Cut(want, ": ")
		status := 400
		if kind == "too-large" {
			status = 413
		}
		rec := send(h, "PATCH", settingsPath, body)
		if p := wantProblem(t, rec, status, kind); !strings.Contains(p.Detail, text) {
			t.Errorf("%.100s: %q, want %q", body, p.Detail, text)
		}
	}
	wantProblem(t, send(h, "PATCH", "/v1/datasets/Prices/settings", `{}`), 400, "bad-dataset-name")
	wantProblem(t, send(h, "GET", "/v1/datasets/Prices/settings", ``), 400, "bad-dataset-name")
	wantProblem(t, send(h, "GET", settingsPath+"?x=1", ``), 400, "bad-parameter")
	wantProblem(t, send(h, "PATCH", settingsPath, `{}`, "Idempotency-Key", "a b"), 400, "bad-request-id")
	if p := wantProblem(t, send(h, "GET", "/v1/datasets/pricse/settings", ""), 404, "unknown-dataset"); !strings.Contains(p.Detail, "did you mean prices?") {
		t.Errorf("%q", p.Detail)
	}
	if newest, err := s.NewestEntry(t.Context(), "prices"); err != nil || newest != 1 { // that of the first publish
		t.Errorf("there are %d entries, %v", newest, err)
	}
}

// Settings that cannot be read are named with their file, and set again with replace.
func TestDamagedSettings(t *testing.T) {
	s := openStore(t)
	if rec := send(newPublisher(t, s, nil).Handler(), "PATCH", settingsPath, `{"settings":{"min_records":2},"reason":"x"}`); rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	place := s.EntryPlace("prices", 1)
	if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	h := newPublisher(t, s, nil).Handler()
	for _, rec := range []problem{
		wantProblem(t, send(h, "GET", settingsPath, ""), 500, "damaged-store"),
		wantProblem(t, send(h, "PATCH", settingsPath, `{"settings":{"max_records":2},"reason":"x"}`), 500, "damaged-store"),
	} {
		if !strings.Contains(rec.Detail, place) || !strings.Contains(rec.Detail, `"replace": true`) {
			t.Errorf("%q", rec.Detail)
		}
	}
	if rec := send(h, "PATCH", settingsPath, `{"settings":{"max_records":2},"replace":true,"reason":"damaged"}`); rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "GET", settingsPath, ""); rec.Code != 200 || !strings.Contains(rec.Body.String(), `"settings":{"max_records":2}`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestSettingsWithoutAStore(t *testing.T) {
	s := &broken{Store: openStore(t), err: errors.New("the disk is gone")}
	h := newPublisher(t, s, nil).Handler()
	wantProblem(t, send(h, "GET", settingsPath, ""), 503, "store-unavailable")
	// The change itself reads no version.
	rec := send(h, "PATCH", settingsPath, `{"settings":{"max_records":2},"reason":"x"}`)
	if got := decode[publisher.DatasetSettings](t, rec); rec.Code != 200 || !*got.Changed || len(got.Warnings) != 1 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	unknown := &unknownEntries{Store: openStore(t)}
	lost := newPublisher(t, unknown, nil).Handler()
	for want, header := range map[string][]string{"is not made twice": {"Idempotency-Key", "r-1"}, "send the request again if not, with the header Idempotency-Key": nil} {
		if p := wantProblem(t, send(lost, "PATCH", settingsPath, `{"settings":{"max_records":2},"reason":"x"}`, header...), 503, "change-unknown"); !strings.Contains(p.Detail, want) {
			t.Errorf("%q, want %q", p.Detail, want)
		}
	}
}

// The change is announced over NATS. Without it, the change is in the store, and a warning says that it was not announced.
func TestSettingsAreAnnounced(t *testing.T) {
	server := servertest.NATS(t)
	nc, err := nats.Connect(server.URL, nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("freshet.v1.journal.prices")
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(t)
	h := newPublisher(t, s, func(_ *publisher.Config, d *publisher.Deps) { d.NATS = nc }).Handler()
	rec := send(h, "PATCH", settingsPath, `{"settings":{"max_records":2},"reason":"x"}`)
	if got := decode[publisher.DatasetSettings](t, rec); rec.Code != 200 || !*got.Announced {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	m, err := sub.NextMsgWithContext(t.Context())
	if err != nil || !strings.Contains(string(m.Data), `"type":"dev.freshet.dataset.journal.v1"`) {
		t.Errorf("%v, %v", m, err)
	}
	server.Kill()
	disconnected := nc.StatusChanged(nats.RECONNECTING)
	if nc.IsConnected() {
		<-disconnected
	}
	rec = send(h, "PATCH", settingsPath, `{"settings":{"max_records":3},"reason":"x"}`)
	got := decode[publisher.DatasetSettings](t, rec)
	warnings := strings.Join(got.Warnings, "; ")
	if rec.Code != 200 || *got.Announced || !strings.Contains(warnings, "in the store, as journal entry 2") || !strings.Contains(warnings, "not announced") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// unknownEntries is a store that does not report whether it has put an entry.
type unknownEntries struct{ store.Store }

func (u *unknownEntries) PutEntry(context.Context, dataset.Entry) error { return store.ErrUnknown }
