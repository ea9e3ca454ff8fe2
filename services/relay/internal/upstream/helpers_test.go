package upstream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
	"freshet.dev/services/relay/internal/upstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// content and digest are the object that the relays of these tests have.
var (
	content = func() []byte {
		b := make([]byte, 1<<20)
		_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
		return b
	}()
	digest = dataset.Digest(sha256.Sum256(content))
)

// fake is a relay with a handler that can be replaced.
type fake struct {
	*httptest.Server

	mu     sync.Mutex
	answer http.HandlerFunc
	asked  []string
}

func serve(t *testing.T, answer http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{answer: answer}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")+r.Header.Get("Cache-Control")))
		answer := f.answer
		f.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// become changes how the relay answers.
func (f *fake) become(answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// asks returns the requests since the last call.
func (f *fake) asks() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.asked = nil }()
	return f.asked
}

// whole answers as a relay that has the object, and version 3 of every dataset.
func whole(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutSuffix(r.URL.Path, "/latest"); ok {
		name = name[strings.LastIndex(name, "/")+1:]
		text, err := dataset.VersionRecord{
			Dataset: name, Version: 3, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Snapshot: dataset.Object{Version: 3, Digest: digest, Bytes: int64(len(content))},
		}.Encode()
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(text)
		return
	}
	w.Header().Set("ETag", `"`+digest.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
}

// silent sends nothing until the request is canceled.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// abort breaks the connection without an answer.
func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// retagged replaces the ETag with that of another object.
type retagged struct{ http.ResponseWriter }

func (w retagged) WriteHeader(code int) {
	w.Header().Set("ETag", `"x"`)
	w.ResponseWriter.WriteHeader(code)
}

// cut writes what whole writes, and calls then after n bytes of the body.
func cut(n int, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		whole(&cutter{w, n, func() {
			_ = http.NewResponseController(w).Flush()
			then(w, r)
			panic(http.ErrAbortHandler)
		}}, r)
	}
}

// headerOnly sends the header of the answer that whole sends, and breaks the connection before the first byte of the body.
func headerOnly(w http.ResponseWriter, r *http.Request) { whole(headerWriter{w}, r) }

type headerWriter struct{ http.ResponseWriter }

func (w headerWriter) Write([]byte) (int, error) {
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

type cutter struct {
	http.ResponseWriter
	left int
	then func()
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 && err == nil {
		c.then()
	}
	return n, err
}

// ranked returns the relays' URLs, with a password and with paths added so that they rank in this order for the
// object, and for the dataset cities.
func ranked(t *testing.T, all ...*fake) (urls []string) {
	t.Helper()
	for i := range 100_000 {
		urls = urls[:0]
		for _, f := range all {
			urls = append(urls, fmt.Sprintf("%s/%d", strings.Replace(f.URL, "http://", "http://user:hunter2@", 1), i))
		}
		set, err := relays.New(urls, 0)
		if err != nil {
			t.Fatal(err)
		}
		right := func(key []byte) bool {
			return slices.EqualFunc(set.InOrder(key), set.All(), func(a relays.Choice, b *relays.Relay) bool { return a.Relay == b })
		}
		if right(digest[:]) && right([]byte("cities")) {
			return urls
		}
	}
	t.Fatal("no order of the relays is the wanted one")
	return nil
}

// logged is a log that counts its lines.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns the lines since the last call.
func (l *logged) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return slices.Collect(strings.Lines(l.text.String()))
}

func open(t *testing.T, timeout time.Duration, urls ...string) (*upstream.Origin, *logged) {
	t.Helper()
	return openThrough(t, nil, timeout, urls...)
}

func openThrough(t *testing.T, transport http.RoundTripper, timeout time.Duration, urls ...string) (*upstream.Origin, *logged) {
	t.Helper()
	log := &logged{}
	o, err := upstream.New(upstream.Config{Relays: urls, Connections: 8, Timeout: timeout, Log: slog.New(slog.NewTextHandler(log, nil)), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o, log
}

// read reads a part of the object.
func read(ctx context.Context, o *upstream.Origin, from, to int) error {
	body, err := o.OpenObject(ctx, digest, int64(from), int64(to-from))
	if err != nil {
		return err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err == nil && !bytes.Equal(got, content[from:to]) {
		err = fmt.Errorf("%d bytes that are not those from %d to %d", len(got), from, to)
	}
	return err
}

// secret fails the test if a text contains the password.
func secret(t *testing.T, texts ...any) {
	t.Helper()
	if text := fmt.Sprint(texts...); strings.Contains(text, "hunter2") {
		t.Errorf("the password is in %s", text)
	}
}
