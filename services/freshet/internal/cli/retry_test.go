package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/services/freshet/internal/exit"
)

// lossy is a proxy before the publisher that breaks the connection instead of sending the first answers to a publish.
type lossy struct {
	http.Handler
	lose  atomic.Int32
	asked atomic.Int32
	// then, if not nil, answers the requests after the lost ones.
	then atomic.Pointer[http.HandlerFunc]
	// lost, if not nil, is called when an answer is lost.
	lost func()
	// stop closes the proxy's listener.
	stop func()
}

func (l *lossy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		l.Handler.ServeHTTP(w, r)
		return
	}
	l.asked.Add(1)
	if l.lose.Add(-1) < 0 {
		if then := l.then.Load(); then != nil {
			(*then)(w, r)
			return
		}
		l.Handler.ServeHTTP(w, r)
		return
	}
	l.Handler.ServeHTTP(httptest.NewRecorder(), r)
	if l.lost != nil {
		l.lost()
	}
	panic(http.ErrAbortHandler)
}

// loses returns a stack whose publisher loses its next answers to publishes.
func loses(t *testing.T) (freshet, *lossy) {
	t.Helper()
	f := start(t, "prices")
	at, err := url.Parse(f.at.Publisher)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	transport := &http.Transport{}
	proxy.Transport = transport
	l := &lossy{Handler: proxy}
	server := httptest.NewServer(l)
	l.stop = func() { _ = server.Listener.Close() }
	t.Cleanup(func() { server.Close(); transport.CloseIdleConnections() })
	f.env["FRESHET_PUBLISHER_URL"] = server.URL
	before := repeatAfter
	repeatAfter = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	t.Cleanup(func() { repeatAfter = before })
	return f, l
}

func TestLostAnswers(t *testing.T) {
	f, l := loses(t)
	l.lose.Store(2)
	f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku").
		want(t, exit.OK, "stdout:prices version 1: 2 records (2 added", "stderr:; retrying")
	if got := l.asked.Load(); got != 3 {
		t.Errorf("%d requests were sent", got)
	}

	// A patch with a base, whose own first try made the newest version.
	l.lose.Store(1)
	f.run(t, "publish", "prices", file(t, "p.ndjson", `{"sku":"A1","price":9}`), "--key", "sku", "--patch", "--base", "1").
		want(t, exit.OK, "stdout:prices version 2: 2 records (0 added, 1 changed, 0 removed)")

	// Standard input is read once: the version is looked for.
	l.lose.Store(1)
	asked := l.asked.Load()
	run(t.Context(), f.env, newPrices, "publish", "prices", "-", "--key", "sku").
		want(t, exit.OK, "stdout:prices version 3: 3 records", "stderr:the publisher's answer was lost")
	if got := l.asked.Load() - asked; got != 1 {
		t.Errorf("%d requests were sent", got)
	}
	f.run(t, "versions", "prices", "--output", "json").want(t, exit.OK, "request_id", `!"version": 4`, `!"version":4`)
}

func TestOutcomeThatStaysUnknown(t *testing.T) {
	f, l := loses(t)
	l.lose.Store(100)
	prices := file(t, "p.ndjson", oldPrices)
	got := f.run(t, "publish", "prices", prices, "--key", "sku")
	got.want(t, exit.Failure, "stderr:it is not known whether it was published", `stderr:"freshet versions prices --output json" shows the request_id `, "stderr:--request-id")
	id := regexp.MustCompile(`--request-id ([A-Z2-7]+)`).FindStringSubmatch(got.err)
	if id == nil {
		t.Fatalf("no id in %s", got.err)
	}
	f.run(t, "versions", "prices", "--output", "json").want(t, exit.OK, "stdout:"+id[1])
	l.lose.Store(0)
	f.run(t, "publish", "prices", prices, "--key", "sku", "--request-id", id[1]).want(t, exit.OK, "stdout:prices version 1: 2 records")
	if versions := f.run(t, "versions", "prices"); strings.Count(versions.out, "\n") != 2 {
		t.Errorf("versions prints\n%s", versions.out)
	}
	f.run(t, "publish", "prices", file(t, "q.ndjson", newPrices), "--key", "sku", "--request-id", id[1]).
		want(t, exit.Refused, "stderr:the request id was used before, for another request", "stderr:draw another id")
	f.run(t, "publish", "prices", prices, "--key", "sku", "--request-id", "a b").want(t, exit.Usage, "stderr:--request-id: not a request id")
}

// What comes after an attempt whose outcome is not known does not hide that.
func TestOutcomeThatIsUnknownStaysSo(t *testing.T) {
	answers := func(status int, kind string) *http.HandlerFunc {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"type":"https://freshet.dev/problems/%s","status":%d,"detail":"%s: nothing was published"}`, kind, status, kind)
		})
		return &h
	}
	for name, tc := range map[string]struct {
		then  *http.HandlerFunc // nil: the publisher is gone
		asked int32
		text  string
	}{
		"refused connection": {nil, 1, "cannot reach the publisher"},
		"busy":               {answers(http.StatusServiceUnavailable, "busy"), 4, "busy: nothing was published"},
		"conflict":           {answers(http.StatusConflict, "conflict"), 2, "conflict: nothing was published"},
	} {
		t.Run(name, func(t *testing.T) {
			f, l := loses(t)
			l.lose.Store(1)
			l.then.Store(tc.then)
			if tc.then == nil {
				l.lost = l.stop
			}
			prices := file(t, "p.ndjson", oldPrices)
			got := f.run(t, "publish", "prices", prices, "--key", "sku")
			got.want(t, exit.Failure, "stderr:"+tc.text, "stderr:that is the error of the last attempt; of an earlier one it is not known whether it was published",
				"stderr:--request-id")
			if asked := l.asked.Load(); asked != tc.asked {
				t.Errorf("%d requests were sent", asked)
			}
			id := regexp.MustCompile(`--request-id ([A-Z2-7]+)`).FindStringSubmatch(got.err)
			if id == nil {
				t.Fatalf("no id in %s", got.err)
			}
			f.env["FRESHET_PUBLISHER_URL"] = f.at.Publisher
			f.run(t, "publish", "prices", prices, "--key", "sku", "--request-id", id[1]).want(t, exit.OK, "stdout:prices version 1: 2 records")
		})
	}
	t.Run("busy for a while", func(t *testing.T) {
		f, l := loses(t)
		l.lose.Store(1)
		busy := answers(http.StatusServiceUnavailable, "busy")
		once := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l.then.Store(nil)
			(*busy)(w, r)
		})
		l.then.Store(&once)
		f.run(t, "publish", "prices", file(t, "p.ndjson", oldPrices), "--key", "sku").want(t, exit.OK, "stdout:prices version 1: 2 records")
	})
}
