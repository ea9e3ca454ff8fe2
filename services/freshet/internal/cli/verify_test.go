package cli

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/publisher"
)

// verifiable returns a publisher of a store in a folder, which has the dataset prices.
func verifiable(t *testing.T) (freshet, store.Store) {
	t.Helper()
	folder := t.TempDir()
	s, err := storeurl.Open(t.Context(), "dir://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	p, err := publisher.New(publisher.Config{
		Listen: "127.0.0.1:0", StoreURL: settings.URL("dir://" + folder), NatsURL: "nats://127.0.0.1:4222", TempDir: t.TempDir(), MemoryBytes: 8 << 20,
		MaxDeltas: 32, MaxDeltaPercent: 50, CompactEvery: time.Hour, BeaconEvery: time.Minute, Publishes: 2, Patches: 2,
		BodyBytes: 1 << 20, TextBytes: 1 << 20, BodyStall: 10 * time.Second, BodyRate: 1, BodyTime: time.Minute,
	}, publisher.Deps{Store: s, Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p.Handler())
	t.Cleanup(server.Close)
	f := freshet{env: map[string]string{"FRESHET_PUBLISHER_URL": server.URL}}
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku").want(t, exit.OK)
	return f, s
}

func TestVerifyCommand(t *testing.T) {
	f, s := verifiable(t)
	f.run(t, "verify").want(t, exit.OK, "stdout:1 dataset, 1 version, 1 object of ", "stdout:: nothing is wrong", "!finding ")
	f.run(t, "verify", "prizes").want(t, exit.NotFound, "stderr:dataset prizes has no version; did you mean prices?")
	f.run(t, "verify", "Prices").want(t, exit.Usage, "stderr:not a dataset name")
	f.run(t, "verify", "prices", "rules").want(t, exit.Usage, "stderr:accepts at most 1 arg")
	f.run(t, "verify", "--help").want(t, exit.OK, "stdout:freshet verify prices --repair", "stdout:snapshot-record", "stdout:The exit code is 10")

	rec, err := s.Latest(t.Context(), "prices")
	if err != nil {
		t.Fatal(err)
	}
	path := s.ObjectPlace(rec.Snapshot.Digest)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)/2] ^= 1
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, flipped, 0o600)); err != nil {
		t.Fatal(err)
	}
	r := f.run(t, "verify", "prices", "--repair")
	r.want(t, exit.Findings, "stdout:finding", "stdout:the snapshot of version 1 is lost", "stdout:"+path, "stdout:no instance that starts can load the newest version, 1",
		"stdout:not repaired: ", "!run `freshet verify", "stdout:publish all records of prices again", "stdout:1 finding\n", "stderr:1 finding is not repaired")
	if lines := strings.Split(r.out, "\n"); len(lines) < 2 || strings.Join(strings.Fields(lines[1]), " ") != "snapshot prices 1 no" {
		t.Errorf("the table is\n%s", r.out)
	}
	r = f.run(t, "verify", "--output", "json")
	r.want(t, exit.Findings)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	var first, last publisher.VerifyLine
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &first), json.Unmarshal([]byte(lines[len(lines)-1]), &last)); err != nil || len(lines) != 2 ||
		first.Finding == nil || first.Finding.Version != 1 || last.Totals == nil || last.Totals.Findings != 1 {
		t.Errorf("%v in %s", err, r.out)
	}

	// The remedy.
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku").want(t, exit.OK, "put back the snapshot")
	f.run(t, "verify", "prices").want(t, exit.OK, "stdout:nothing is wrong")

	// A missing store id is put right.
	if err := os.Remove(s.IDPlace()); err != nil {
		t.Fatal(err)
	}
	f.run(t, "verify").want(t, exit.Findings, "stdout:store-id", "stderr:1 finding is not repaired")
	f.run(t, "verify", "--repair").want(t, exit.OK, "stdout:wrote the store id", "stdout:1 finding, 1 repaired")
	f.run(t, "verify").want(t, exit.OK)
}

// A damaged journal entry is found, and the command that the finding names works.
func TestVerifyFindsADamagedEntry(t *testing.T) {
	f, s := verifiable(t)
	f.run(t, "settings", "prices", "--set", "min_records=1", "--reason", "cut twice").want(t, exit.OK)
	f.run(t, "verify").want(t, exit.OK)
	place := s.EntryPlace("prices", 2)
	if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	f.run(t, "verify", "--repair").want(t, exit.Findings, "stdout:entry ", "stdout:journal entry 2 is lost", "stdout:"+place,
		"stdout:or set all settings again: `freshet settings prices --replace --set NAME=VALUE --reason TEXT`")
	f.run(t, "settings", "prices", "--replace", "--set", "min_records=1", "--reason", "the entry is damaged").want(t, exit.OK)
	f.run(t, "verify").want(t, exit.Findings, "stdout:the settings do not need it, entry 3 has them")

	// A dataset without a version.
	f.run(t, "settings", "rules", "--set", "min_records=1", "--reason", "no empty rules").want(t, exit.OK)
	place = s.EntryPlace("rules", 1)
	if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	f.run(t, "verify").want(t, exit.Findings, "stdout:2 findings", "stdout:"+place, "stdout:freshet settings rules --replace")
}

// An answer that a broken connection cuts short, and one that ends with a problem, are failures.
func TestVerifyWithoutTotals(t *testing.T) {
	for answer, want := range map[string]string{
		`{"finding":{"kind":"delta","dataset":"prices","version":3,"problem":"lost","effect":"none","repaired":false}}` + "\n":  "stderr:ended before its totals",
		`{"problem":{"type":"https://freshet.dev/problems/store-unavailable","status":503,"detail":"the store failed"}}` + "\n": "stderr:the store failed",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
		run(t.Context(), nil, "", "verify", "--publisher", server.URL).want(t, exit.Failure, want)
		server.Close()
	}
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"type":"https://freshet.dev/problems/busy","status":429,"detail":"a verification is in progress"}`))
	}))
	defer busy.Close()
	run(t.Context(), nil, "", "verify", "--publisher", busy.URL).want(t, exit.Failure, "stderr:a verification is in progress")
}

// A verification names its caller, which a version that a repair publishes keeps.
func TestVerifyNamesTheCaller(t *testing.T) {
	var by string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by = r.Header.Get("Freshet-By")
		_, _ = w.Write([]byte("{}\n{}\n" + `{"totals":{"datasets":1}}` + "\n"))
	}))
	defer server.Close()
	run(t.Context(), nil, "", "verify", "--repair", "--publisher", server.URL).want(t, exit.OK)
	r := run(t.Context(), nil, "", "verify", "--output", "json", "--publisher", server.URL)
	if r.want(t, exit.OK); strings.Count(r.out, "\n") != 1 { // not the lines that say that the verification goes on
		t.Errorf("the output is %s", r.out)
	}
	if by == "" || by != caller() {
		t.Errorf("the request names %q", by)
	}
}
