package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/pkg/timeline"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/publisher"
)

// rowOf returns the row of an event, with one space between words.
func rowOf(e timeline.Event) string {
	return strings.Join(strings.Fields(strings.Join(eventRow(e, time.UTC), " ")), " ")
}

func TestEventRows(t *testing.T) {
	at := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	version := dataset.VersionRecord{
		Dataset: "prices", Version: 7, Created: at, State: dataset.Checksum{Records: 1500}, Changes: dataset.Changes{Added: 2, Changed: 1000}, Source: "nightly",
	}
	by := version
	by.By, by.Reason, by.Restores = "ann@host", "it was bad", dataset.Ref{Version: 5}
	entry := dataset.Entry{
		Dataset: "prices", Number: 2, Time: at, Kind: "settings", By: "bob", Reason: "why",
		Content: json.RawMessage(`{"settings":{"min_records":5},"changes":{"min_records":5,"max_records":null}}`),
	}
	later := entry // of a kind that this release does not know
	later.Kind, later.By, later.Content = "tag", "", json.RawMessage(`{"version":3}`)
	gc := entry
	gc.Kind, gc.Content = dataset.EntryGC, json.RawMessage(`{"gone":[{"first":1,"last":1}],"versions":[{"first":1,"last":1}],"objects":1,"bytes":10}`)
	for want, e := range map[string]timeline.Event{
		"2026-11-30 08:00:00 prices version 7 nightly 1,500 records (2 added, 1,000 changed, 0 removed)":    {Dataset: "prices", Time: at, Version: &version},
		"2026-11-30 08:00:00 prices rollback 7 ann@host the content of version 5, 1,500 records it was bad": {Dataset: "prices", Time: at, Version: &by},
		"2026-11-30 08:00:00 prices settings 2 bob max_records unset, min_records=5 why":                    {Dataset: "prices", Time: at, Entry: &entry},
		"2026-11-30 08:00:00 prices tag 2 - {\"version\":3} why":                                            {Dataset: "prices", Time: at, Entry: &later},
		"2026-11-30 08:00:00 prices gc 2 bob the bytes of version 1 are gone (10 B freed) why":              {Dataset: "prices", Time: at, Entry: &gc},
		"- prices damaged 3 the version record is damaged in the store":                                     {Dataset: "prices", Damaged: &timeline.Damage{Version: 3}},
		"- prices damaged 4 the journal entry is damaged in the store":                                      {Dataset: "prices", Damaged: &timeline.Damage{Entry: 4}},
		"2026-11-30 08:00:00 prices unknown an event of a later release; --output json shows it":            {Dataset: "prices", Time: at, Unknown: json.RawMessage(`{}`)},
	} {
		if got := rowOf(e); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// numbers returns the event and number columns of a table.
func numbers(table string) string {
	var all []string
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		if f := strings.Fields(line); i > 0 && len(f) > 4 {
			all = append(all, f[2]+" "+f[3]+" "+f[4])
		}
	}
	return strings.Join(all, ", ")
}

func TestEvents(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "events").want(t, exit.OK)
	f.run(t, "events", "prices").want(t, exit.NotFound, "stderr:prices")
	f.run(t, "settings", "prices", "--set", "min_records=1", "--reason", "the first", "--by", "ann@host").want(t, exit.OK)
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.run(t, "publish", "cities", file(t, "cities.ndjson", oldPrices), "--key", "sku").want(t, exit.OK)
	f.run(t, "publish", "prices", file(t, "prices.ndjson", newPrices), "--key", "sku", "--wait").want(t, exit.OK)

	all := f.run(t, "events")
	all.want(t, exit.OK, "stdout:time ", "stdout:ann@host", "stdout:min_records=1", `stdout:key="sku", number_keys="plain"`, "stdout:set by the first publish", "stdout:the first", "stdout:3 records (1 added, 1 changed, 0 removed)")
	if got := numbers(all.out); got != "prices settings 1, prices settings 2, prices version 1, cities settings 1, cities version 1, prices version 2" {
		t.Errorf("events prints %s:\n%s", got, all.out)
	}
	if got := numbers(f.run(t, "events", "prices", "--since", "1h").out); got != "prices settings 1, prices settings 2, prices version 1, prices version 2" {
		t.Errorf("the events of prices are %s", got)
	}
	if got := numbers(f.run(t, "events", "prices", "--from-version", "2").out); got != "prices version 2" {
		t.Errorf("the events from version 2 on are %s", got)
	}
	f.run(t, "events", "prices", "--from-version", "9").want(t, exit.NotFound, "stderr:the newest is 2")
	f.run(t, "events", "price").want(t, exit.NotFound, "stderr:did you mean prices?")

	var types []string
	for line := range strings.Lines(f.run(t, "events", "--output", "json").out) {
		e, end, err := timeline.ParseLine([]byte(line))
		if err != nil || end != nil {
			t.Fatalf("%s: %v", line, err)
		}
		types = append(types, e.Kind())
	}
	if strings.Join(types, " ") != "settings settings version settings version version" {
		t.Errorf("the kinds are %q", types)
	}
}

// follower is a running `freshet events --follow`.
type follower struct {
	lines  chan string
	ended  chan exit.Code
	cancel context.CancelFunc
}

func (f freshet) follow(t *testing.T, args ...string) follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	fo := follower{lines: make(chan string, 1000), ended: make(chan exit.Code, 1), cancel: cancel}
	go func() {
		defer close(fo.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			fo.lines <- s.Text()
		}
	}()
	go func() {
		code := Run(ctx, Process{
			In: strings.NewReader(""), Out: in, Err: io.Discard, Command: "freshet",
			LookupEnv: func(name string) (string, bool) { v, ok := f.env[name]; return v, ok },
		}, append([]string{"events", "--follow", "--output", "json"}, args...))
		_ = in.Close()
		fo.ended <- code
	}()
	return fo
}

// next returns the next event as "dataset kind number".
func (fo follower) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-fo.lines:
		e, _, err := timeline.ParseLine([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.Version != nil {
			return fmt.Sprint(e.Dataset, " ", e.Kind(), " ", e.Version.Version)
		}
		return fmt.Sprint(e.Dataset, " ", e.Kind(), " ", e.Entry.Number)
	case <-time.After(30 * time.Second):
		t.Fatal("no event")
	}
	return ""
}

func (fo follower) end(t *testing.T) {
	t.Helper()
	fo.cancel()
	if code := <-fo.ended; code != exit.OK {
		t.Errorf("exit code %d, want 0", code)
	}
	for line := range fo.lines {
		t.Errorf("one more event: %s", line)
	}
}

// The history and what happens during the command meet without a loss and without a repeat.
func TestEventsFollow(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	all, one := f.follow(t), f.follow(t, "prices", "--since", "0s")
	for _, w := range []string{"prices settings 1", "prices version 1"} {
		if got := all.next(t); got != w {
			t.Errorf("the first events have %s, want %s", got, w)
		}
	}
	want := []string{"prices settings 2", "prices version 2", "cities settings 1", "cities version 1", "cities settings 2"}
	f.run(t, "settings", "prices", "--set", "max_records=9", "--reason", "x").want(t, exit.OK)
	f.run(t, "publish", "prices", file(t, "prices.ndjson", newPrices), "--key", "sku").want(t, exit.OK)
	f.run(t, "publish", "cities", file(t, "cities.ndjson", newPrices), "--key", "sku").want(t, exit.OK)
	f.run(t, "settings", "cities", "--set", "max_records=9", "--reason", "x").want(t, exit.OK)
	for _, w := range want {
		if got := all.next(t); got != w {
			t.Errorf("the next event is %s, want %s", got, w)
		}
	}
	all.end(t)
	// It may have begun to follow only after some of these events.
	one.cancel()
	<-one.ended
	var seen []string
	for line := range one.lines {
		e, _, err := timeline.ParseLine([]byte(line))
		if err != nil || e.Dataset != "prices" || e.Version != nil && e.Version.Version == 1 {
			t.Errorf("the events of prices since now have %s, %v", line, err)
		}
		seen = append(seen, line)
	}
	for i := range seen {
		for _, later := range seen[i+1:] {
			if seen[i] == later {
				t.Errorf("an event came twice: %s", later)
			}
		}
	}
	f.follow(t, "nothing").wantEnd(t, exit.NotFound)
	run(t.Context(), map[string]string{"FRESHET_NATS_URL": "nats://127.0.0.1:1"}, "", "events", "--follow").want(t, exit.Failure, "stderr:cannot reach NATS")
}

func (fo follower) wantEnd(t *testing.T, want exit.Code) {
	t.Helper()
	if code := <-fo.ended; code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	fo.cancel()
}

// served runs a publisher on a store in a folder, without NATS.
func served(t *testing.T) (f freshet, folder string) {
	t.Helper()
	folder = t.TempDir()
	s, err := storeurl.Open(t.Context(), "dir://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	p, err := publisher.New(publisher.Config{
		Listen: "127.0.0.1:0", StoreURL: settings.URL("dir://" + folder), NatsURL: "nats://127.0.0.1:4222", TempDir: t.TempDir(), MemoryBytes: 8 << 20,
		MaxDeltas: 32, MaxDeltaPercent: 50, CompactEvery: time.Hour, BeaconEvery: time.Minute, Publishes: 2, Patches: 2, Reads: 2,
		BodyBytes: 1 << 20, TextBytes: 1 << 20, BodyStall: 10 * time.Second, BodyRate: 1, BodyTime: time.Minute,
	}, publisher.Deps{Store: s, Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p.Handler())
	t.Cleanup(server.Close)
	return freshet{env: map[string]string{"FRESHET_PUBLISHER_URL": server.URL}}, folder
}

// A damaged record is in the list, and stderr names its file and the remedy.
func TestEventsWithADamagedRecord(t *testing.T) {
	f, folder := served(t)
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku").want(t, exit.OK)
	f.run(t, "settings", "prices", "--set", "max_records=9", "--reason", "x").want(t, exit.OK)
	f.run(t, "settings", "prices", "--set", "max_records=8", "--reason", "x").want(t, exit.OK)
	path := filepath.Join(folder, "journal", "prices", "00000000000000000002.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) {
		t.Helper()
		if err := errors.Join(os.Remove(path), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put([]byte("{"))
	f.run(t, "events").want(t, exit.Failure, "stdout:the journal entry is damaged", "stderr:"+path, "stderr:put back a good copy of it", "stdout:max_records=8")
	f.run(t, "events", "--output", "json").want(t, exit.Failure, `stdout:{"damaged":{"dataset":"prices","entry":2,`)
	put(good)
	f.run(t, "events").want(t, exit.OK, "!damaged", "stdout:max_records=9")

	path = filepath.Join(folder, "journal", "prices", "00000000000000000003.json")
	put([]byte("{"))
	refused := f.run(t, "settings", "prices", "--set", "max_records=7", "--reason", "more")
	refused.want(t, exit.Failure, "stderr:"+path)
	_, remedy, found := strings.Cut(refused.err, "set all settings again: freshet ")
	remedy, _, ended := strings.Cut(remedy, ", with a --set for each")
	args := strings.Fields(strings.NewReplacer("NAME=VALUE", "max_records=7", "TEXT", "damaged").Replace(remedy))
	if !found || !ended || len(args) == 0 {
		t.Fatalf("the message has no command: %s", refused.err)
	}
	f.run(t, args...).want(t, exit.OK, "stdout:journal entry 4: damaged")
	wantSettings(t, f, map[string]string{"max_records": "7"})
}

// An answer that was cut short is an error, and no end of the events.
func TestEventsCutShort(t *testing.T) {
	f, _ := served(t)
	f.run(t, "publish", "prices", file(t, "prices.ndjson", oldPrices), "--key", "sku").want(t, exit.OK)
	real := f.env["FRESHET_PUBLISHER_URL"]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(real + r.URL.RequestURI())
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		first, _, _ := strings.Cut(string(b), "\n")
		fmt.Fprintln(w, first)
	}))
	defer server.Close()
	f.env["FRESHET_PUBLISHER_URL"] = server.URL
	f.run(t, "events").want(t, exit.Failure, "stdout:settings", "stderr:it was cut short")
}
