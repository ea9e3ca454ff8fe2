package pull_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/relays"
)

// ranges answers as a relay that has the object and supports ranges.
func ranges(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"`+object.Digest.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// cut writes what ranges writes, and breaks the connection after n bytes of the body.
func cut(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		whole := httptest.NewRecorder()
		ranges(whole, r)
		for k, v := range whole.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(whole.Code)
		w.Write(whole.Body.Bytes()[:min(n, whole.Body.Len())])
		http.NewResponseController(w).Flush()
		if n < whole.Body.Len() {
			panic(http.ErrAbortHandler)
		}
	}
}

// asked collects the Range and If-Range headers of the requests to h.
func asked(h http.HandlerFunc) (http.HandlerFunc, func() []string) {
	var mu sync.Mutex
	var all []string
	return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			all = append(all, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
			mu.Unlock()
			h(w, r)
		}, func() []string {
			mu.Lock()
			defer mu.Unlock()
			return all
		}
}

// Invariant: a broken connection costs the bytes in flight, not those received.
func TestPullContinuesWhereTheConnectionBroke(t *testing.T) {
	const piece = 50_000
	h, headers := asked(cut(piece))
	url, _ := serve(t, h)
	got, err := read(client(t, pull.Config{Relays: []string{url}}))
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("got %d bytes, %v; want the object", len(got), err)
	}
	want := []string{" "}
	for at := piece; at < len(content); at += piece {
		want = append(want, fmt.Sprintf("bytes=%d- %q", at, object.Digest.String()))
	}
	if fmt.Sprint(headers()) != fmt.Sprint(want) {
		t.Errorf("the Range headers are %q, want %q", headers(), want)
	}
}

func TestAnotherRelayContinues(t *testing.T) {
	broken, _ := serve(t, cut(100_000))
	h, headers := asked(ranges)
	other, _ := serve(t, h)
	urls := inOrder(t, broken, other)
	c := client(t, pull.Config{Relays: urls})
	got, err := read(c)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("got %d bytes, %v; want the object", len(got), err)
	}
	if want := fmt.Sprintf("[bytes=100000- %q]", object.Digest.String()); fmt.Sprint(headers()) != want {
		t.Errorf("the Range headers at the other relay are %q, want %s", headers(), want)
	}
	if health := c.Health(); health[0].Standing != relays.Failed || health[0].Failures != 1 || health[1].Standing != relays.Good {
		t.Errorf("the relays' health is %+v; want that the first failed once", health)
	}
}

// Invariant: for any answer of a relay to the request for the rest, Read returns the object's bytes.
func TestAnswersThatAreNotTheRest(t *testing.T) {
	rest := func(change func(http.Header)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			whole := httptest.NewRecorder()
			ranges(whole, r)
			change(whole.Header())
			for k, v := range whole.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(whole.Code)
			w.Write(bytes.Repeat([]byte("wrong"), whole.Body.Len())[:whole.Body.Len()])
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"the whole": whole, // a proxy without ranges: usable after the first bytes are skipped
		"another part": rest(func(h http.Header) {
			h.Set("Content-Range", fmt.Sprintf("bytes 1-%d/%d", len(content)-1, len(content)))
		}),
		"no Content-Range":    rest(func(h http.Header) { h.Del("Content-Range") }),
		"another object":      rest(func(h http.Header) { h.Set("ETag", `"x"`) }),
		"another object's":    rest(func(h http.Header) { h.Set("Content-Range", "bytes 100000-100001/100002") }),
		"range not there":     answer(http.StatusRequestedRangeNotSatisfiable),
		"not found any more":  http.NotFound,
		"unauthorised by now": answer(http.StatusUnauthorized),
	} {
		t.Run(name, func(t *testing.T) {
			broken, _ := serve(t, cut(100_000))
			odd, n := serve(t, h)
			good, _ := serve(t, ranges)
			got, err := read(client(t, pull.Config{Relays: inOrder(t, broken, odd, good)}))
			if err != nil || !bytes.Equal(got, content) || n.Load() != 1 {
				t.Fatalf("got %d bytes, %v, after %d requests to the odd relay; want the object after one", len(got), err, n.Load())
			}
		})
	}
}

// Invariant: a relay that answers without a byte is queried at a limited rate, and not forever.
func TestRelayWithoutABodyIsAnError(t *testing.T) {
	var dry atomic.Bool
	url, n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !dry.Swap(true) {
			cut(100_000)(w, r)
			return
		}
		cut(0)(w, r)
	})
	got, err := read(client(t, pull.Config{Relays: []string{url}, Patience: 700 * time.Millisecond}))
	if err == nil || len(got) != 100_000 || !strings.Contains(err.Error(), "at byte 100000 of") || !strings.Contains(err.Error(), url) {
		t.Errorf("got %d bytes, %v; want 100000 and an error that names the place and the relay", len(got), err)
	}
	if n.Load() > 12 {
		t.Errorf("the relay received %d requests", n.Load())
	}
}

// Invariant: before the first byte a failed relay costs no pause, and every relay is queried.
func TestRelayThatBreaksBeforeTheFirstByte(t *testing.T) {
	dry, _ := serve(t, cut(0))
	good, _ := serve(t, ranges)
	if got, err := read(client(t, pull.Config{Relays: inOrder(t, dry, dry, good)})); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v; want the object", len(got), err)
	}
	if _, err := read(client(t, pull.Config{Relays: []string{dry}})); err == nil || !strings.Contains(err.Error(), "at byte 0 of") {
		t.Errorf("with one relay, which gives nothing: %v", err)
	}
}

// Invariant: a pull waits for a relay that restarts in the middle of it, and continues.
func TestPullOutlivesARestart(t *testing.T) {
	h, headers := asked(cut(100_000))
	s := httptest.NewServer(h)
	address := s.Listener.Addr().String()
	steps := make(chan struct{}, 100)
	c := client(t, pull.Config{Relays: []string{s.URL}})
	body, err := c.Object(t.Context(), object, func() { steps <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	got := make([]byte, 100_000)
	if _, err := io.ReadFull(body, got); err != nil {
		t.Fatal(err)
	}
	s.Close()
	done := make(chan error, 1)
	go func() {
		rest, err := io.ReadAll(body)
		got = append(got, rest...)
		done <- err
	}()
	for range 3 { // the break, the refused connection, the end of a pause
		<-steps
	}
	back := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(w, r) }))
	back.Listener.Close()
	if back.Listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	back.Start()
	defer back.Close()
	if err := <-done; err != nil || !bytes.Equal(got, content) {
		t.Fatalf("got %d bytes, %v; want the object", len(got), err)
	}
	if n := len(headers()); n != 3 {
		t.Errorf("%d requests, want 3: %q", n, headers())
	}
}
