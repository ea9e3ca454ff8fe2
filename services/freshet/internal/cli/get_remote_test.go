package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/services/freshet/internal/exit"
)

// startRemote runs a stack whose instances have the label tier=stable and answer remote gets.
func startRemote(t *testing.T, datasets ...string) freshet {
	t.Helper()
	t.Setenv("FRESHET_LABELS", "tier=stable, zone=a")
	t.Setenv("FRESHET_REMOTE_GET", "true")
	return start(t, datasets...)
}

// subscribe adds an instance to the stack. The relay of the instance fails while broken is true.
func (f freshet) subscribe(t *testing.T, cfg subscribe.Config) (broken *atomic.Bool) {
	t.Helper()
	broken = new(atomic.Bool)
	relay, err := url.Parse(f.at.Relay)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(relay) }, Transport: transport}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			http.Error(w, "broken", http.StatusInternalServerError)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	cfg.NATS, cfg.Relays, cfg.RetryInitial, cfg.RetryMax = f.at.NATS, []string{server.URL}, 10*time.Millisecond, 100*time.Millisecond
	s, err := subscribe.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return broken
}

// hungInstance adds an instance that answers surveys and no remote get.
func (f freshet) hungInstance(t *testing.T) {
	t.Helper()
	hung := of("hung", "prices", 1, fleet.Fresh)
	hung.Run = "HUNG"
	f.answers(t, hung)
	conn, err := nats.Connect(f.at.NATS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := conn.SubscribeSync("freshet.v1.instances.get.HUNG"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestGetFromInstances has three instances, one of which stays behind.
func TestGetFromInstances(t *testing.T) {
	f := startRemote(t, "prices")
	broken := f.subscribe(t, subscribe.Config{
		Instance: "canary", Datasets: []string{"prices"}, Labels: map[string]string{"tier": "canary"}, RemoteGet: true,
	})
	f.until(t, exit.NotFound, []string{"no chosen instance serves a version of prices"}, "get", "prices", "A1", "--all")
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK, "(3) serves version 1")
	f.until(t, exit.OK, []string{
		"key  instance  version  id            sha256        bytes  value\n", `{"sku":"A1","price":5}`, `{"sku":"B2","price":7}`, "\n3 instances agree\n",
	}, "get", "prices", "A1", "B2", "--all")
	f.until(t, exit.NotFound, []string{"(no such record)", "no chosen instance has a record of prices with the key Z9\n"}, "get", "prices", "A1", "Z9", "--all")

	broken.Store(true)
	f.run(t, "publish", "prices", file(t, "p.ndjson", newPrices), "--key", "sku").want(t, exit.OK, "version 2")
	f.until(t, exit.OK, []string{"2 instances agree", `{"sku":"A1","price":6}`}, "get", "prices", "A1", "C/3", "--label", "tier=stable", "--label", "zone=a")
	f.until(t, exit.OK, []string{"1 instance answers", `{"sku":"A1","price":5}`}, "get", "prices", "A1", "--instance", "canary")
	f.until(t, exit.Disagree, []string{"freshet: the instances do not agree on A1, C/3\n", `"price":5`, `"price":6`, "(no such record)"}, "get", "prices", "A1", "B2", "C/3", "--all")
	f.until(t, exit.Disagree, []string{"do not agree on A1\n"}, "get", "prices", "A1", "--instance", "canary", "--instance", "up-1")
	f.until(t, exit.OK, []string{"3 instances agree, and serve different versions: 1, 2\n"}, "get", "prices", "B2", "--all")

	var c comparison
	f.untilJSON(t, &c, func() bool { return len(c.Answers) == 3 }, "get", "prices", "A1", "B2", "--all")
	sum := sha256.Sum256([]byte(`{"sku":"A1","price":5}`))
	canary := c.Answers[0]
	if c.Agree || len(c.Versions) != 2 || c.Keys[0].Agree || !c.Keys[1].Agree || canary.Instance != "canary" || canary.Version != 1 || canary.ID.IsZero() ||
		canary.Labels["tier"] != "canary" || canary.Records[0].SHA256.String() != hex.EncodeToString(sum[:]) || canary.Records[0].Bytes != 22 ||
		!strings.Contains(strings.Join(strings.Fields(string(canary.Records[0].Value)), ""), `"price":5`) || len(c.Failed) != 0 || c.Dataset != "prices" {
		t.Errorf("%+v", c)
	}
	broken.Store(false)
	f.until(t, exit.OK, []string{"3 instances agree\n"}, "get", "prices", "A1", "--all")
}

// untilJSON runs a command with JSON output until its output meets the condition.
func (f freshet) untilJSON(t *testing.T, into *comparison, met func() bool, args ...string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		r := f.run(t, append(args, "--output", "json")...)
		*into = comparison{}
		if err := json.Unmarshal([]byte(r.out), into); err == nil && met() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q: %+v", args, r)
		}
	}
}

// TestGetOfALargeValue has a value above the bound, and more values than fit into an answer.
func TestGetOfALargeValue(t *testing.T) {
	f := startRemote(t, "prices")
	var records strings.Builder
	records.WriteString(`{"sku":"large","text":"` + strings.Repeat("x", fleet.MaxGetValueBytes) + `"}` + "\n")
	var keys []string
	for _, c := range "abcdefghijklmnopqrst" {
		keys = append(keys, string(c))
		records.WriteString(`{"sku":"` + string(c) + `","text":"` + strings.Repeat(string(c), 60_000) + `"}` + "\n")
	}
	f.run(t, "publish", "prices", file(t, "p.ndjson", records.String()), "--key", "sku", "--wait").want(t, exit.OK)
	f.until(t, exit.OK, []string{"65,561  (not in the answer, which has values up to 64 KiB)", "2 instances agree"}, "get", "prices", "large", "--all")
	f.until(t, exit.OK, []string{`{"sku":"a","text":"aaaa`, "aaaa...\n", "(not in the answer, which is full; ask for fewer keys)"}, append([]string{"get", "prices", "--all"}, keys...)...)
	f.run(t, "get", "prices", "t", "--all").want(t, exit.OK, `stdout:{"sku":"t","text":"tttt`, "!is full") // fewer keys
	var c comparison
	f.untilJSON(t, &c, func() bool { return len(c.Answers) == 2 }, "get", "prices", "large", "a", "--all")
	if l, a := c.Answers[0].Records[0], c.Answers[0].Records[1]; !l.Found || l.SHA256 == nil || l.Bytes != 65_561 || l.Value != nil || !c.Agree || !strings.Contains(string(a.Value), "aaaa") {
		t.Errorf("%+v", l)
	}
}

// TestGetFromUnknownInstances misspells each name.
func TestGetFromUnknownInstances(t *testing.T) {
	f := startRemote(t, "prices")
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.subscribe(t, subscribe.Config{Instance: "ruler", Datasets: []string{"rules"}, Labels: map[string]string{"tier": "canary"}, RemoteGet: true})
	for want, args := range map[string][]string{
		"no instance up-3 answers (did you mean up-1 or up-2?); `freshet status` shows all":              {"prices", "A1", "--instance", "up-3"},
		"no instance has the labels tier=canry (did you mean tier=canary?)":                              {"prices", "A1", "--label", "tier=canry"},
		"no instance has the labels tier=canary,zone=a; `freshet status --wide` shows the labels of all": {"prices", "A1", "--label", "tier=canary", "--label", "zone=a"},
		"no instance has the dataset pric (did you mean prices?)":                                        {"pric", "A1", "--all"},
		"none of the instances with tier=stable has the dataset rules":                                   {"rules", "A1", "--label", "tier=stable"},
		"instance up-1 does not have the dataset price (did you mean prices?)":                           {"price", "A1", "--instance", "up-1"},
		"no instance in namespace other answers":                                                         {"prices", "A1", "--all", "--namespace", "other"},
	} {
		f.until(t, exit.NotFound, []string{"freshet: " + want}, append([]string{"get"}, args...)...)
	}
	// The remedies.
	f.until(t, exit.OK, []string{"up-1", "tier=stable,zone=a"}, "status", "--wide")
	f.until(t, exit.OK, []string{"ruler", "tier=canary"}, "status", "--wide")
	f.without("FRESHET_NATS_URL", "nats").run(t, "get", "prices", "A1", "--all").want(t, exit.Failure, "cannot reach NATS", "!hunter2")
	f.without("FRESHET_REDIS_URL", "redis").until(t, exit.OK, []string{"2 instances agree", "warning: instances that do not answer go unnoticed: cannot read"}, "get", "prices", "A1", "--all")
}

// TestGetFromInstancesWithoutAnAnswer has instances that refuse, hang, are of an earlier release, and do not answer over NATS.
func TestGetFromInstancesWithoutAnAnswer(t *testing.T) {
	f := startRemote(t, "prices")
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.subscribe(t, subscribe.Config{Instance: "private", Datasets: []string{"prices"}, Labels: map[string]string{"tier": "private"}})
	const refusal = "private: the instance refuses remote gets; start it with FRESHET_REMOTE_GET=true (RemoteGet in subscribe.Config) to allow them\n"
	f.until(t, exit.Refused, []string{"freshet: " + refusal, "2 instances agree\n"}, "get", "prices", "A1", "--all")
	f.until(t, exit.Refused, []string{"freshet: " + refusal}, "get", "prices", "A1", "--instance", "private")

	f.answers(t, of("old", "prices", 1, fleet.Fresh))
	f.until(t, exit.TimedOut, []string{"freshet: old: the instance does not answer: its release does not answer remote gets; private: ", "2 instances agree\n"}, "get", "prices", "A1", "--all")
	f.hungInstance(t)
	f.until(t, exit.TimedOut, []string{"freshet: hung: the instance does not answer: no answer within 300ms\n"}, "get", "prices", "A1", "--instance", "hung", "--timeout", "300ms")
	f.records(t, of("gone", "prices", 1, fleet.Fresh))
	f.until(t, exit.TimedOut, []string{"freshet: gone: the instance does not answer over NATS; its record in Redis is "}, "get", "prices", "A1", "--instance", "gone")
	f.records(t, of("gone", "prices", 1, fleet.Fresh)) // a record lasts for half a minute
	var c comparison
	f.untilJSON(t, &c, func() bool { return len(c.Answers) == 2 && len(c.Failed) == 4 }, "get", "prices", "A1", "--all", "--timeout", "1s")
	if c.Agree || !c.Keys[0].Agree {
		t.Errorf("%+v", c)
	}
	f.answerStatus(t, []byte("{"))
	f.until(t, exit.TimedOut, []string{fleet.ErrUnreadable.Error(), "1 instance answers"}, "get", "prices", "A1", "--instance", "up-1")
	f.until(t, exit.TimedOut, []string{"up-3: no instance with this name answers"}, "get", "prices", "A1", "--instance", "up-3") // it may be the unreadable one
}

func TestGetFromNoInstance(t *testing.T) {
	f := start(t, "rules")
	f.until(t, exit.NotFound, []string{"no instance has the dataset prices\n"}, "get", "prices", "A1", "--all")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	run(ctx, f.env, "", "get", "prices", "A1", "--all").want(t, exit.Interrupted)
}

// TestStatusOfLabels shows and checks only the chosen instances.
func TestStatusOfLabels(t *testing.T) {
	f := startRemote(t, "prices")
	f.subscribe(t, subscribe.Config{Instance: "canary", Datasets: []string{"prices", "rules"}, Labels: map[string]string{"tier": "canary"}})
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.until(t, exit.OK, []string{"canary", "prices", "rules"}, "status", "--label", "tier=canary")
	f.run(t, "status", "--label", "tier=canary").want(t, exit.OK, "!up-1")
	f.until(t, exit.OK, []string{"up-1", "up-2", "tier=stable,zone=a"}, "status", "--label", "tier=stable", "--label", "zone=a", "--wide")
	f.run(t, "status", "--label", "tier=stable").want(t, exit.OK, "!canary", "!rules", "!tier=stable")
	f.until(t, exit.OK, []string{`"labels": {` + "\n" + `          "tier": "canary"`}, "status", "--label", "tier=canary", "--output", "json")
	f.until(t, exit.NotFound, []string{"none of the instances with tier=canry answers", "no instance has the labels tier=canry (did you mean tier=canary?)"}, "status", "--label", "tier=canry")
	f.until(t, exit.NotFound, []string{"no chosen instance subscribes to it"}, "status", "cities", "--label", "tier=canary")

	check := []string{"status", "--fail-if-stale", "--label"}
	f.until(t, exit.OK, nil, append(check, "tier=stable", "--instances", "2")...)
	f.until(t, exit.Stale, []string{"stale: 1 instance answers with tier=canary, want 2"}, append(check, "tier=canary", "--instances", "2")...)
	f.until(t, exit.Stale, []string{"stale: there is no instance with tier=none"}, append(check, "tier=none")...)
	wrecked := of("wrecked", "prices", 0, fleet.Failing)
	wrecked.Labels = map[string]string{"tier": "canary"}
	f.answers(t, wrecked)
	f.until(t, exit.Stale, []string{"wrecked: failing"}, append(check, "tier=canary")...)
	f.until(t, exit.OK, nil, append(check, "tier=stable")...)
}

// TestShownText has values that a terminal must not print as they are.
func TestShownText(t *testing.T) {
	for value, want := range map[string]string{
		`{"a":"ä"}`: `{"a":"ä"}`, "": "", "\x1b[2J": `"\x1b[2J"`, "\xff": `"\xff"`,
		strings.Repeat("x", 61): strings.Repeat("x", 60) + "...", strings.Repeat("x", 59) + "äx": strings.Repeat("x", 59) + "...",
		strings.Repeat("x", 60): strings.Repeat("x", 60),
	} {
		if got := shownText([]byte(value)); got != want {
			t.Errorf("%q is shown as %s, want %s", value, got, want)
		}
	}
	if got := quoteKey("a\nb"); got != `"a\nb"` || quoteKey("C/3") != "C/3" {
		t.Errorf("the key is shown as %s", got)
	}
}
