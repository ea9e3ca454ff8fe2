package pull_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/relays"
)

// content and object are the object that the relays of these tests have.
var (
	content = bytes.Repeat([]byte("0123456789abcdef"), 16<<10)
	object  = dataset.Object{Version: 1, Digest: sha256.Sum256(content), Bytes: int64(len(content))}
)

// serve starts a relay that answers with h and counts the requests.
func serve(t *testing.T, h http.HandlerFunc) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// whole answers as a relay that has the object.
func whole(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("ETag", `"`+object.Digest.String()+`"`)
	w.Write(content)
}

func answer(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// refusing returns the URL of a port that nothing listens on.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// client returns a client without hedges: a loaded machine would make them by chance.
func client(t *testing.T, cfg pull.Config) *pull.Client {
	t.Helper()
	c, err := pull.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	pull.DisableHedges(c)
	return c
}

// inOrder returns the relays' URLs with paths added so that they rank in the given order for the object. The
// relays of these tests check only the end of the path.
func inOrder(t *testing.T, urls ...string) []string {
	t.Helper()
	for i := range 10_000 {
		var all []string
		for j, url := range urls {
			all = append(all, fmt.Sprintf("%s/%d", url, i*len(urls)+j))
		}
		set, err := relays.New(all, 0)
		if err != nil {
			t.Fatal(err)
		}
		if slices.IsSortedFunc(set.InOrder(object.Digest[:]), func(a, b relays.Choice) int { return slices.Index(all, a.String()) - slices.Index(all, b.String()) }) {
			return all
		}
	}
	t.Fatal("no order of the relays is the wanted one")
	return nil
}

func read(c *pull.Client) ([]byte, error) {
	body, err := c.Object(context.Background(), object, nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func TestObjectComesFromTheFirstRelayThatHasIt(t *testing.T) {
	good, _ := serve(t, whole)
	for name, bad := range map[string]string{
		"connection refused": refusing(t),
		"404":                first(serve(t, http.NotFound)),
		"500":                first(serve(t, answer(500))),
		"503":                first(serve(t, answer(503, "Retry-After", "3"))),
		"unauthorised":       first(serve(t, answer(401))),
		"other length":       first(serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(content[:9]) })),
		"other ETag":         first(serve(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("ETag", `"x"`); w.Write(content) })),
		"compressed": first(serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(content)
		})),
		"silent": first(serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(client(t, pull.Config{Relays: inOrder(t, bad, good), HeaderTimeout: 2 * time.Second}))
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("got %d bytes, %v; want the object", len(got), err)
			}
		})
	}
}

func first(url string, _ *atomic.Int64) string { return url }

func TestObjectTakesAnswersWithoutLengthAndETag(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		w.Write(content)
	})
	if got, err := read(client(t, pull.Config{Relays: []string{url}})); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("got %d bytes, %v; want the object", len(got), err)
	}
}

func TestErrorNamesEveryRelayAndItsReason(t *testing.T) {
	down := refusing(t)
	busy, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(503)
		fmt.Fprint(w, `{"title":"Busy","status":503,"detail":"all 64 streams\nare in use"}`)
	})
	urls := inOrder(t, down, busy)
	_, err := read(client(t, pull.Config{Relays: urls, Patience: time.Second}))
	for _, want := range []string{
		"pull object " + object.Digest.String(), "relay " + urls[0] + ": ", "connection refused",
		"relay " + urls[1] + ": answered 503 Service Unavailable: all 64 streams are in use",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is\n%v\nwant in it: %s", err, want)
		}
	}
	if errors.Is(err, pull.ErrNotFound) {
		t.Error("the error is ErrNotFound although a relay was down")
	}
	_, err = read(client(t, pull.Config{Relays: []string{busy}, Patience: time.Second}))
	if e := (*pull.Error)(nil); !errors.As(err, &e) || e.RetryAfter() != 7*time.Second {
		t.Errorf("got %#v; want an *Error that says to retry after 7 s", err)
	}
}

func TestErrorHidesPasswords(t *testing.T) {
	url := strings.Replace(refusing(t), "http://", "http://user:secret@", 1)
	if _, err := read(client(t, pull.Config{Relays: []string{url}})); err == nil || strings.Contains(err.Error(), "secret") {
		t.Fatalf("the error is %v; want one without the password", err)
	}
}

func TestNotFoundNeedsEveryRelay(t *testing.T) {
	missing, _ := serve(t, http.NotFound)
	_, err := client(t, pull.Config{Relays: []string{missing, missing}}).Latest(t.Context(), "prices")
	if !errors.Is(err, pull.ErrNotFound) {
		t.Errorf("all answer 404: got %v, want ErrNotFound", err)
	}
	_, err = client(t, pull.Config{Relays: []string{missing, refusing(t)}}).Latest(t.Context(), "prices")
	if err == nil || errors.Is(err, pull.ErrNotFound) {
		t.Errorf("one is down: got %v, want an error that is not ErrNotFound", err)
	}
}

func TestBodyOfTheWrongLengthIsAnError(t *testing.T) {
	for name, tc := range map[string]struct {
		sent []byte
		want string
	}{
		"short": {content[:1000], "ends at byte 1000 of 262144"},
		"long":  {append(bytes.Clone(content), 'x'), "longer than the 262144 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(200)
				http.NewResponseController(w).Flush() // no Content-Length
				w.Write(tc.sent)
			})
			got, err := read(client(t, pull.Config{Relays: []string{url}, Patience: 300 * time.Millisecond}))
			if !errors.Is(err, pull.ErrAnswer) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrAnswer with %q", err, tc.want)
			}
			if len(got) > len(content) {
				t.Errorf("%d bytes were handed on, more than the object has", len(got))
			}
		})
	}
}

func TestStalledBodyIsAnError(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:100])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	_, err := read(client(t, pull.Config{Relays: []string{url}, StallTimeout: 50 * time.Millisecond, Patience: 100 * time.Millisecond}))
	if !errors.Is(err, pull.ErrStalled) || !strings.Contains(err.Error(), "at byte 100 of") {
		t.Fatalf("got %v, want ErrStalled at byte 100", err)
	}
}

func TestSlowBodyThatMovesIsNotAnError(t *testing.T) {
	const pieces, pause = 8, 40 * time.Millisecond
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for i := range pieces {
			w.Write(content[i*len(content)/pieces : (i+1)*len(content)/pieces])
			http.NewResponseController(w).Flush()
			<-tick.C
		}
	})
	// The whole takes longer than the limit of each wait.
	got, err := read(client(t, pull.Config{Relays: []string{url}, StallTimeout: pause * pieces / 2}))
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("got %d bytes, %v; want the object", len(got), err)
	}
}

func TestCancelEndsACall(t *testing.T) {
	asked := make(chan struct{})
	url, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { close(asked); <-r.Context().Done() })
	good, n := serve(t, whole)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("closing")
	go func() { <-asked; cancel(why) }()
	_, err := client(t, pull.Config{Relays: inOrder(t, url, good)}).Object(ctx, object, nil)
	if !errors.Is(err, why) || n.Load() != 0 {
		t.Fatalf("got %v and %d requests to the next relay; want the cause and none", err, n.Load())
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	var open, peak atomic.Int64
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := open.Add(1)
		defer open.Add(-1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		whole(w, r)
	})
	c := client(t, pull.Config{Relays: []string{url}, MaxConnections: 3})
	errs := make(chan error)
	for range 20 {
		go func() { _, err := read(c); errs <- err }()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if peak.Load() > 3 {
		t.Errorf("%d requests ran at a time, want at most 3", peak.Load())
	}
}

func TestLatest(t *testing.T) {
	want := dataset.VersionRecord{
		Dataset: "prices", Version: 1, Snapshot: object, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Source: "test",
	}
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	good, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/behind/a/path/v1/datasets/prices/latest") {
			http.NotFound(w, r)
			return
		}
		w.Write(text)
	})
	broken, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(text[1:]) })
	other, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Write(bytes.Replace(text, []byte("prices"), []byte("rules"), 1))
	})
	endless, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	got, err := client(t, pull.Config{Relays: []string{broken, other, endless, good + "/behind/a/path/"}}).Latest(t.Context(), "prices")
	if err != nil || got.ID() != want.ID() || got.Snapshot != want.Snapshot {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	_, err = client(t, pull.Config{Relays: []string{broken, other, endless}}).Latest(t.Context(), "prices")
	for _, say := range []string{dataset.ErrVersionRecord.Error(), `about dataset "rules"`, "more than 1048576 bytes"} {
		if !errors.Is(err, pull.ErrAnswer) || !strings.Contains(err.Error(), say) {
			t.Errorf("got %v, want ErrAnswer with %q", err, say)
		}
	}
	if _, err := client(t, pull.Config{Relays: []string{good}}).Latest(t.Context(), "../x"); !errors.Is(err, dataset.ErrName) {
		t.Errorf("a name that is none: got %v, want ErrName", err)
	}
}

func TestNewNamesTheField(t *testing.T) {
	for want, cfg := range map[string]pull.Config{
		"Relays is empty":             {},
		"Relays[1] has the scheme":    {Relays: []string{"http://a", "ftp://b"}},
		"Relays[0] has no host":       {Relays: []string{"http://"}},
		"Relays[0] is not a URL":      {Relays: []string{"http://u:secret@%zz"}},
		"has a query or a fragment":   {Relays: []string{"http://a?b=c"}},
		"HeaderTimeout is -1ns":       {Relays: []string{"http://a"}, HeaderTimeout: -1},
		"StallTimeout is -1ns":        {Relays: []string{"http://a"}, StallTimeout: -1},
		"MaxConnections is -1; it mu": {Relays: []string{"http://a"}, MaxConnections: -1},
		"Patience is -1ns":            {Relays: []string{"http://a"}, Patience: -1},
		"Distrust is -1ns":            {Relays: []string{"http://a"}, Distrust: -1},
	} {
		_, err := pull.New(cfg)
		if !errors.Is(err, pull.ErrConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want ErrConfig with %q", err, want)
		}
	}
}

func ExampleClient() {
	relay := httptest.NewServer(http.HandlerFunc(whole)) // in place of freshet-relay
	defer relay.Close()

	c, err := pull.New(pull.Config{Relays: []string{relay.URL}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	body, err := c.Object(context.Background(), object, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer body.Close()
	n, err := io.Copy(io.Discard, body)
	fmt.Println(n, err)
	// Output: 262144 <nil>
}
