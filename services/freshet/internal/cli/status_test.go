package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/overview"
)

// until runs a command until it exits with the code and prints all the texts: the reports of instances lag behind events.
func (f freshet) until(t *testing.T, code exit.Code, texts []string, args ...string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		r := f.run(t, args...)
		ok := r.code == code
		for _, text := range texts {
			ok = ok && strings.Contains(r.out+r.err, text)
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q: exit code %d, want %d with %q\nstdout: %s\nstderr: %s", args, r.code, code, texts, r.out, r.err)
		}
	}
}

// without returns the stack with a variable set to an address on which nothing listens.
func (f freshet) without(variable, scheme string) freshet {
	server := httptest.NewServer(nil)
	server.Close()
	env := map[string]string{}
	for name, value := range f.env {
		env[name] = value
	}
	env[variable] = scheme + "://user:hunter2@" + server.Listener.Addr().String()
	return freshet{f.at, env}
}

// answers adds an instance to the stack that answers with the status.
func (f freshet) answers(t *testing.T, s fleet.Status) {
	t.Helper()
	answer, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	f.answerStatus(t, answer)
}

// records adds the record of an instance that does not answer.
func (f freshet) records(t *testing.T, s fleet.Status) {
	t.Helper()
	rdb, err := catalog.Connect(f.at.Redis)
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	status, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := catalog.New(rdb, "").RecordInstance(t.Context(), catalog.InstanceID(s.Instance, s.Host, s.PID), status); err != nil {
		t.Fatal(err)
	}
}

func of(name, dataset string, version uint64, state fleet.State) fleet.Status {
	d := fleet.DatasetStatus{Dataset: dataset, Version: version, Newest: version, State: state, Since: time.Now()}
	if state == fleet.Failing {
		d.Error = "disk on fire"
	}
	return fleet.Status{Instance: name, Datasets: []fleet.DatasetStatus{d}}
}

// TestFailIfStale checks a healthy fleet, and then adds one failure after the other.
func TestFailIfStale(t *testing.T) {
	f := start(t, "prices")
	check := []string{"status", "--fail-if-stale"}
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.until(t, exit.OK, nil, check...)
	f.run(t, append(check, "prices", "rules")...).want(t, exit.Stale, "stderr:stale: rules: no instance has it\n", "stderr:freshet: stale, for 1 reason\n", "stdout:up-1")

	f.answers(t, of("wrecked", "prices", 0, fleet.Failing))
	f.until(t, exit.Stale, []string{"stale: prices: wrecked: failing for ", "disk on fire"}, check...)
	f.records(t, of("gone", "prices", 1, fleet.Fresh))
	f.until(t, exit.Stale, []string{"stale: prices: gone: silent: it does not answer", "wrecked", "stale, for 2 reasons"}, append(check, "--output", "json")...)
	f.run(t, append(check, "--redis", "")...).want(t, exit.Stale, "!gone")

	// A source that cannot be queried is not the same as a stale dataset.
	f.without("FRESHET_PUBLISHER_URL", "http").run(t, check...).
		want(t, exit.Failure, "stderr:stale: prices: wrecked: failing", "stderr:the freshness is unknown", "stderr:cannot reach the publisher", "!hunter2")
	f.without("FRESHET_NATS_URL", "nats").run(t, check...).want(t, exit.Failure, "stderr:the freshness is unknown", "stderr:cannot reach NATS", "!hunter2")
	f.without("FRESHET_REDIS_URL", "redis").run(t, check...).want(t, exit.Failure, "stderr:the freshness is unknown", "stderr:cannot read the instances' records in Redis", "!hunter2")
}

// TestTooFewInstances has a stack of two instances.
func TestTooFewInstances(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	check := []string{"status", "prices", "--fail-if-stale", "--instances"}
	f.until(t, exit.OK, nil, append(check, "2")...)
	f.until(t, exit.Stale, []string{"stale: prices: 2 instances answer, want 3\n", "stale, for 1 reason"}, append(check, "3")...)
	// An instance that hangs has a record, and does not answer.
	f.records(t, of("hung", "prices", 1, fleet.Fresh))
	f.until(t, exit.Stale, []string{"stale: prices: 2 instances answer, want 3\n", "hung: silent", "stale, for 2 reasons"}, append(check, "3")...)
	// Without Redis only the number shows that it is missing.
	f.until(t, exit.Stale, []string{"stale: 2 instances answer, want 3\n"}, "status", "--fail-if-stale", "--instances", "3", "--redis", "")
}

// TestAClaimOfFreshness has an instance that reports to be fresh on a version that is not the newest.
func TestAClaimOfFreshness(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.answers(t, of("liar", "prices", 1, fleet.Fresh))
	f.until(t, exit.OK, []string{"liar"}, "status", "--fail-if-stale", "--max-lag", "0s")
	f.run(t, "publish", "prices", file(t, "p.ndjson", newPrices), "--key", "sku").want(t, exit.OK, "version 2")
	f.until(t, exit.Stale, []string{"prices: liar: it reports to be fresh on version 1, but version 2 was committed "}, "status", "--fail-if-stale", "--max-lag", "0s")
	f.until(t, exit.OK, []string{"liar"}, "status", "--fail-if-stale", "--max-lag", "1h")
}

// TestStatusWithWhatThereIs shows the other sources when NATS or Redis is down.
func TestStatusWithWhatThereIs(t *testing.T) {
	f := start(t, "prices")
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku", "--wait").want(t, exit.OK)
	f.records(t, of("gone", "prices", 1, fleet.Fresh))
	f.until(t, exit.OK, []string{"up-1", "up-2", "silent", "does not answer; was fresh when it wrote its record"}, "status")
	// The records of the live instances are up to a second old.
	f.without("FRESHET_NATS_URL", "nats").until(t, exit.Failure, []string{"up-1", "up-2", "gone", "from its record, ", "cannot reach NATS"}, "status")
	f.without("FRESHET_NATS_URL", "nats").run(t, "status").want(t, exit.Failure, "!silent", "!hunter2")
	f.without("FRESHET_REDIS_URL", "redis").run(t, "status").want(t, exit.Failure, "stdout:up-1", "!gone", "stderr:cannot read the instances' records in Redis")

	var all []overview.Dataset
	r := f.run(t, "status", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &all); err != nil || len(all) != 1 {
		t.Fatalf("%v in %s", err, r.out)
	}
	for _, i := range all[0].Instances {
		if i.Instance == "gone" && (!i.Silent || i.RecordAge == nil || i.State != fleet.Fresh) || i.Instance == "up-1" && i.RecordAge != nil {
			t.Errorf("%+v", i)
		}
	}
}

// looks is an output that calls each with the number of writes.
type looks struct {
	mu    sync.Mutex // guards what follows
	text  bytes.Buffer
	count int
	each  func(n int)
}

func (l *looks) Write(b []byte) (int, error) {
	l.mu.Lock()
	l.text.Write(b)
	l.count++
	n := l.count
	l.mu.Unlock()
	l.each(n)
	return len(b), nil
}

// TestWatch watches a fleet as text and as JSON, and ends with Ctrl-C.
func TestWatch(t *testing.T) {
	f := start(t, "prices")
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &looks{each: func(n int) {
				if n == 3 {
					cancel()
				}
			}}
			var errs strings.Builder
			code := Run(ctx, Process{
				In: strings.NewReader(""), Out: out, Err: &errs, Command: "freshet",
				LookupEnv: func(name string) (string, bool) { v, ok := f.env[name]; return v, ok },
			}, []string{"status", "--watch", "--interval", "100ms", "--output", format})
			if code != exit.OK || errs.String() != "" {
				t.Errorf("exit code %d: %s", code, errs.String())
			}
			text := out.text.String()
			if strings.Contains(text, "\x1b") {
				t.Errorf("an output that is no terminal gets %q", text)
			}
			if format == "text" {
				if n := strings.Count(text, "up-1"); n != 3 {
					t.Errorf("%d looks are\n%s", n, text)
				}
				return
			}
			lines := strings.Split(strings.TrimSpace(text), "\n")
			for _, line := range lines {
				var all []overview.Dataset
				if err := json.Unmarshal([]byte(line), &all); err != nil || len(all) != 1 || len(all[0].Instances) != 2 {
					t.Errorf("%v in %s", err, line)
				}
			}
			if len(lines) != 3 {
				t.Errorf("%d lines", len(lines))
			}
		})
	}
}

// TestOmittedDatasets has an instance whose answer leaves datasets out. Every form of the output names the instance.
func TestOmittedDatasets(t *testing.T) {
	f := start(t, "prices")
	large := of("large", "prices", 1, fleet.Fresh)
	large.Omitted = 3
	f.answers(t, large)
	const warning = "the answer of large is too large for 3 more datasets"
	f.until(t, exit.OK, []string{"(not in the answers)", "freshet: warning: " + warning}, "status", "rules")
	f.until(t, exit.OK, []string{`"maybe_on": [` + "\n      \"large\"", "freshet: warning: " + warning}, "status", "rules", "--output", "json")
	f.until(t, exit.Stale, []string{"stale: rules: it is not in the answers, and these instances left datasets out: large\n"}, "status", "rules", "--fail-if-stale")
	for format, want := range map[string]string{"text": "\nwarning: " + warning, "json": `"maybe_on":["large"]`} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out := &looks{}
		var errs strings.Builder
		out.each = func(int) { // a busy instance may miss a survey
			if strings.Contains(out.text.String(), want) {
				cancel()
			}
		}
		code := Run(ctx, Process{
			In: strings.NewReader(""), Out: out, Err: &errs, Command: "freshet",
			LookupEnv: func(name string) (string, bool) { v, ok := f.env[name]; return v, ok },
		}, []string{"status", "rules", "--watch", "--interval", "100ms", "--output", format})
		if code != exit.OK || !strings.Contains(out.text.String(), want) || format == "json" && !strings.Contains(errs.String(), warning) {
			t.Errorf("exit code %d, printed no %q:\n%s%s", code, want, out.text.String(), errs.String())
		}
	}
}
