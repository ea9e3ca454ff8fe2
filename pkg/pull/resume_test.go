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

// ranges answers as a relay that has the object and knows ranges.
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

// Invariant: a connection that breaks costs the bytes that were on their way, not those that came.
func TestPullGoesOnWhereTheConnectionBroke(t *testing.T) {
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
		t.Errorf("asked for %q, want %q", headers(), want)
	}
}

func TestAnotherRelayGoesOn(t *testing.T) {
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
		t.Errorf("the other relay was asked for %q, want %s", headers(), want)
	}
	if health := c.Health(); health[0].Standing != relays.Failed || health[0].Failures != 1 || health[1].Standing != relays.Good {
		t.Errorf("the relays' health is %+v; want that the first failed once", health)
	}
}

// Invariant: whatever a relay answers to the question for the rest, the bytes handed on are the object's.
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
		"the whole": whole, // a proxy without ranges: not wrong, but to be read from its beginning
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
				t.Fatalf("got %d bytes, %v, after %d questions to the odd relay; want the object after one", len(got), err, n.Load())
			}
		})
	}
}

// Invariant: a relay that answers and then gives nothing is asked at a bounded rate, and not for ever.
func TestRelayThatGivesNothingIsGivenUp(t *testing.T) {
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
		t.Errorf("the relay was asked %d times", n.Load())
	}
}

// Invariant: before the first byte a failed relay costs no pause, and each gets its turn.
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

// Invariant: a relay that is away for a moment in the middle of a pull is waited for, and the pull goes on.
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
		t.Errorf("%d questions, want 3: %q", n, headers())
	}
}
