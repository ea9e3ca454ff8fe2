package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/freshet/internal/exit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestKeysArriveAsTheyAre looks up keys that mean something in a URL.
func TestKeysArriveAsTheyAre(t *testing.T) {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Freshet-Version", "7")
		_, _ = w.Write([]byte(r.PathValue("name") + " " + r.PathValue("key")))
	}
	mux.HandleFunc("GET /v1/datasets/{name}/records/{key...}", answer)
	mux.HandleFunc("GET /behind/a%20proxy/v1/datasets/{name}/records/{key...}", answer)
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, prefix := range []string{"", "/", "/behind/a%20proxy", "/behind/a%20proxy/"} {
		c, err := New(server.URL+prefix, "server", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"A1", "a/b", "/", "..", ".", "%2F", "a b", "a+b", "ü", "a?b#c", "a;b=c&d", "\x00\xff"} {
			record, err := c.Record(t.Context(), "prices", key, dataset.Token{})
			if err != nil || record.Version != 7 || string(record.Value) != "prices "+key {
				t.Errorf("key %q below %q: got %q, %v", key, prefix, record.Value, err)
			}
		}
		c.Close()
	}
}

// TestVersionsPages asks for more versions than the publisher lists at a time.
func TestVersionsPages(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		if r.URL.Query().Get("before") == "" {
			_, _ = w.Write([]byte(`{"dataset":"d","versions":[{"version":3},{"version":2}],"next_before":2}`))
			return
		}
		_, _ = w.Write([]byte(`{"dataset":"d","versions":[],"damaged":[{"dataset":"d","version":1,"damaged":"why"}],"gone":[{"first":1,"last":1}]}`))
	}))
	defer server.Close()
	c, err := New(server.URL, "publisher", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list, err := c.Versions(t.Context(), "d", 5000)
	if err != nil || len(list.Versions) != 2 || list.Versions[1].Version != 2 || len(list.Damaged) != 1 || list.Damaged[0].Damaged != "why" || !list.Gone.Contains(1) {
		t.Errorf("got %+v, %v", list, err)
	}
	if len(asked) != 2 || asked[0] != "limit=1000" || asked[1] != "before=2&limit=1000" {
		t.Errorf("asked %q", asked)
	}
}

// TestLatestBesideADamagedDataset has the publisher know the newest version of one dataset only.
func TestLatestBesideADamagedDataset(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"datasets":[{"dataset":"cities","error":"damaged"},{"dataset":"prices","latest":{"version":3},"retention_set":false}]}`))
	}))
	defer server.Close()
	c, err := New(server.URL, "publisher", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	latest, unset, err := c.Latest(t.Context())
	if len(latest) != 1 || latest["prices"].Version != 3 || len(unset) != 1 || unset[0] != "prices" || err == nil || err.Error() != "dataset cities: damaged" {
		t.Errorf("got %v, %v", latest, err)
	}
}

func TestAnswerThatIsNone(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"no version": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) },
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("x"))
		},
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			c, err := New(server.URL, "server", "")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if record, err := c.Record(t.Context(), "prices", "A1", dataset.Token{}); exit.Of(err) != exit.Failure {
				t.Errorf("got %+v, %v", record, err)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	c, err := New(server.URL, "server", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Record(ctx, "prices", "A1", dataset.Token{}); !errors.Is(err, context.Canceled) || exit.Of(err) != exit.Interrupted {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:8480", "nats://h:1", "http://", "http://[::1", "http://hunter2/x@h:1", "http://u:1?hunter2@h", "http://a,http://u:hunter2@b"} {
		if c, err := New(base, "publisher", ""); exit.Of(err) != exit.Usage || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, %v", base, c, err)
		}
	}
}

// A server of an earlier release ignores the token. Its answer is not taken for one that has the version.
func TestServerThatDoesNotKnowTokens(t *testing.T) {
	known := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Freshet-Version", "7")
		if known {
			w.Header().Set("Freshet-State", "fresh")
		}
		_, _ = w.Write([]byte(r.URL.Query().Get("at_least")))
	}))
	defer server.Close()
	c, err := New(server.URL, "server", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	token := dataset.Token{Dataset: "prices", Ref: dataset.Ref{Version: 8, ID: dataset.VersionID{8}}}
	if _, err := c.Record(t.Context(), "prices", "A1", token); err == nil || !strings.Contains(err.Error(), "does not know tokens; its answer is of version 7") {
		t.Errorf("error is %v", err)
	}
	known = true
	if r, err := c.Record(t.Context(), "prices", "A1", token); err != nil || string(r.Value) != token.String() {
		t.Errorf("%s, %v", r.Value, err)
	}
}
