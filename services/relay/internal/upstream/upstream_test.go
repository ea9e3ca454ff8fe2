package upstream_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
	"freshet.dev/pkg/store"
	"freshet.dev/services/relay/internal/upstream"
)

// Invariant: while all relays serve, one relay serves an object, the same as for instances, for any order of the list.
func TestOneRelayServesAnObject(t *testing.T) {
	all := []*fake{serve(t, status(404)), serve(t, status(404)), serve(t, status(404))}
	urls := []string{all[0].URL, all[1].URL, all[2].URL}
	set, err := relays.New(urls, 0)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := open(t, time.Minute, urls[2], urls[0], urls[1])
	for i := range 30 {
		d := dataset.Digest(sha256.Sum256(fmt.Append(nil, i)))
		first := set.InOrder(d[:])[0].String()
		for _, f := range all {
			f.become(func(w http.ResponseWriter, _ *http.Request) {
				if f.URL != first {
					t.Errorf("object %d is requested from %s, want %s", i, f.URL, first)
				}
				w.Header().Set("Content-Length", "7")
			})
		}
		if n, err := o.StatObject(t.Context(), d); n != 7 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
}

// Invariant: however the first relay fails, the result is the next one's answer.
func TestFailover(t *testing.T) {
	down := serve(t, abort)
	down.Close()
	for name, c := range map[string]struct {
		answer   http.HandlerFunc // nil: refuses connections
		failures uint64           // of three calls
		busy     uint64
	}{
		"down":     {nil, 1, 0},
		"breaks":   {abort, 1, 0},
		"silent":   {silent, 1, 0},
		"error":    {status(500), 1, 0},
		"busy":     {status(503), 0, 3},
		"too many": {status(429), 0, 3},
		"none":     {status(404), 0, 0},
		"wrong etag": {func(w http.ResponseWriter, r *http.Request) {
			whole(retagged{w}, r)
		}, 1, 0},
		"moved elsewhere": {status(304), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := down, serve(t, whole)
			if c.answer != nil {
				first = serve(t, c.answer)
			}
			o, log := open(t, 2*time.Second, ranked(t, first, second)...)
			if n, err := o.StatObject(t.Context(), digest); n != int64(len(content)) || err != nil {
				t.Errorf("size %d, %v", n, err)
			}
			if h := o.Health()[0]; h.Failures != c.failures {
				t.Errorf("after the first call: %+v", h)
			}
			if err := read(t.Context(), o, 1000, 500_000); err != nil {
				t.Error(err)
			}
			if rec, _, err := o.Newest(t.Context(), "cities"); rec.Version != 3 || err != nil {
				t.Errorf("%v, %v", rec, err)
			}
			h := o.Health()
			if h[0].Failures != c.failures || h[0].Busy != c.busy || h[1].Failures != 0 || h[1].Busy != 0 {
				t.Errorf("%+v", h)
			}
			lines := log.lines()
			if uint64(len(lines)) != c.failures {
				t.Errorf("the log says %q", lines)
			}
			secret(t, h, lines)
		})
	}
}

// Invariant: the error is store.ErrNotFound if one relay answers 404 and no relay answers otherwise.
func TestNotFound(t *testing.T) {
	none, busy, wrong, dead, mute := status(404), status(503), status(500), http.HandlerFunc(abort), http.HandlerFunc(silent)
	for name, c := range map[string]struct {
		answers []http.HandlerFunc
		want    error // nil: neither of the known ones
	}{
		"all say so":             {[]http.HandlerFunc{none, none, none}, store.ErrNotFound},
		"one alone":              {[]http.HandlerFunc{none}, store.ErrNotFound},
		"the others are down":    {[]http.HandlerFunc{dead, none, dead}, store.ErrNotFound},
		"the other is silent":    {[]http.HandlerFunc{mute, none}, store.ErrNotFound},
		"one is busy":            {[]http.HandlerFunc{none, busy, none}, upstream.ErrBusy},
		"the last one is busy":   {[]http.HandlerFunc{none, busy}, upstream.ErrBusy},
		"one fails":              {[]http.HandlerFunc{wrong, none}, upstream.ErrAnswer},
		"all are down":           {[]http.HandlerFunc{dead, dead}, nil},
		"all are silent":         {[]http.HandlerFunc{mute, mute}, nil},
		"one is busy, one fails": {[]http.HandlerFunc{busy, wrong}, upstream.ErrBusy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all []*fake
			for _, a := range c.answers {
				all = append(all, serve(t, a))
			}
			o, log := open(t, time.Minute, ranked(t, all...)...)
			check := func(err error) {
				t.Helper()
				if err == nil || c.want != nil && !errors.Is(err, c.want) || (c.want == store.ErrNotFound) != errors.Is(err, store.ErrNotFound) || errors.Is(err, context.Canceled) {
					t.Errorf("error is %v, want %v", err, c.want)
				}
				for _, f := range all {
					if err != nil && !strings.Contains(err.Error(), f.Listener.Addr().String()) {
						t.Errorf("%s is not in the error %v", f.URL, err)
					}
				}
				secret(t, err)
			}
			ask := func(f func(ctx context.Context) error) error {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				return f(ctx)
			}
			check(ask(func(ctx context.Context) error { _, err := o.StatObject(ctx, digest); return err }))
			check(ask(func(ctx context.Context) error { return read(ctx, o, 0, 9) }))
			check(ask(func(ctx context.Context) error { _, _, err := o.Newest(ctx, "cities"); return err }))
			secret(t, log.lines())
		})
	}
}

// Invariant: the log has each change and not each call, and a relay that failed ranks last.
func TestARelayThatFailsRanksLast(t *testing.T) {
	first, second := serve(t, status(500)), serve(t, whole)
	o, log := open(t, time.Minute, ranked(t, first, second)...)
	for range 20 {
		if err := read(t.Context(), o, 0, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(first.asks()); n != 1 {
		t.Errorf("the relay that failed received %d requests", n)
	}
	second.become(status(500))
	for range 5 {
		if err := read(t.Context(), o, 0, 1000); !errors.Is(err, upstream.ErrAnswer) {
			t.Fatal(err)
		}
	}
	if lines := log.lines(); len(lines) != 2 || !strings.Contains(lines[0], "500 Internal Server Error") || o.Health()[0].Failures != 6 {
		t.Errorf("the log says %q; %+v", lines, o.Health())
	}
	first.become(whole)
	for range 5 {
		if err := read(t.Context(), o, 0, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "serves again") {
		t.Errorf("the log says %q", lines)
	}
}

// Invariant: a canceled call is not a failure of a relay, and queries no other relay.
func TestCanceledCallIsNoFailure(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	first := serve(t, func(w http.ResponseWriter, r *http.Request) {
		leave()
		silent(w, r)
	})
	second := serve(t, whole)
	o, log := open(t, time.Minute, ranked(t, first, second)...)
	if err := read(ctx, o, 0, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if h := o.Health(); h[0].Failures != 0 || len(second.asks()) != 0 || len(log.lines()) != 0 {
		t.Errorf("%+v", h)
	}
}

// Invariant: Recheck reaches all relays, even while one is down.
func TestRecheckReachesAllRelays(t *testing.T) {
	first, second, third := serve(t, whole), serve(t, abort), serve(t, status(404))
	o, _ := open(t, time.Minute, ranked(t, first, second, third)...)
	err := o.Recheck(t.Context(), digest)
	if err == nil || !strings.Contains(err.Error(), second.Listener.Addr().String()) || strings.Contains(err.Error(), first.Listener.Addr().String()) {
		t.Errorf("error is %v", err)
	}
	secret(t, err)
	for _, f := range []*fake{first, third} {
		if asked := fmt.Sprint(f.asks()); asked != "[HEAD no-cache]" {
			t.Errorf("%s received %s", f.URL, asked)
		}
	}
	second.become(whole)
	if err := o.Recheck(t.Context(), digest); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, urls := range [][]string{
		{},
		{"http://h", "ftp://u:hunter2@h"},
		{"http://"},
		{"http://u:hunter2@h/?x=1"},
		{"http://[::1"},
		{"http://h:1", "http://g:1", "http://u:hunter2@H:1/"},
	} {
		_, err := upstream.New(upstream.Config{Relays: urls})
		if !errors.Is(err, upstream.ErrURL) {
			t.Errorf("%v: error is %v", urls, err)
		}
		secret(t, err)
	}
}
