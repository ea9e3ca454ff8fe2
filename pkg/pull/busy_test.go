package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

var (
	bytesOfObject = bytes.Repeat([]byte("0123456789abcdef"), 1000)
	someObject    = dataset.Object{Version: 1, Digest: sha256.Sum256(bytesOfObject), Bytes: int64(len(bytesOfObject))}
)

// relayFunc answers in place of a relay, so that a test runs in a bubble with fake time.
type relayFunc func(r *http.Request) *http.Response

func (f relayFunc) RoundTrip(r *http.Request) (*http.Response, error) {
	if res := f(r); res != nil {
		return res, nil
	}
	return nil, errors.New("connection refused")
}

func response(code int, body io.Reader, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	if body == nil {
		body = http.NoBody
	}
	return &http.Response{StatusCode: code, Header: h, ContentLength: -1, Body: io.NopCloser(body)}
}

func busyAnswer(after string) *http.Response {
	return response(http.StatusServiceUnavailable, nil, "Retry-After", after)
}

func given() *http.Response { return response(http.StatusOK, bytes.NewReader(bytesOfObject)) }

// rest is the answer of a relay that continues where half breaks.
func rest(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	if r.Header.Get("Range") != "bytes=8000-" {
		t.Errorf("the Range is %q", r.Header.Get("Range"))
	}
	return response(http.StatusPartialContent, bytes.NewReader(bytesOfObject[8000:]), "Content-Range", "bytes 8000-15999/16000")
}

// half is an answer that breaks in the middle.
func half() *http.Response {
	return response(http.StatusOK, io.MultiReader(bytes.NewReader(bytesOfObject[:8000]), broken{}))
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func bubbleClient(t *testing.T, cfg Config, f relayFunc) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.http = &http.Client{Transport: f}
	return c
}

func all(c *Client, step func()) error {
	body, err := c.Object(context.Background(), someObject, step)
	if err != nil {
		return err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err == nil && !bytes.Equal(got, bytesOfObject) {
		err = errors.New("other bytes came")
	}
	return err
}

// Invariant: a relay with Retry-After: 3 is queried again after 3 s plus jitter and not before, and the time between two
// heartbeats of the waiting pull is shorter than a stall.
func TestBusyRelayIsQueriedAfterRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Time
		c := bubbleClient(t, Config{Relays: []string{"http://a"}, StallTimeout: 2 * time.Second}, func(*http.Request) *http.Response {
			asked = append(asked, time.Now())
			if len(asked) <= 4 {
				return busyAnswer("3")
			}
			return given()
		})
		last, longest := time.Now(), time.Duration(0)
		if err := all(c, func() { longest = max(longest, time.Since(last)); last = time.Now() }); err != nil {
			t.Fatal(err)
		}
		pauses := map[time.Duration]bool{}
		for i := range asked[1:] {
			pause := asked[i+1].Sub(asked[i])
			pauses[pause] = true
			if jitter := pause - 3*time.Second; jitter <= 0 || jitter > 2*maxBackOff {
				t.Errorf("pause %d was %s, want 3s and some jitter", i, pause)
			}
		}
		if len(pauses) != 4 {
			t.Errorf("the pauses were %v, want 4 different ones", pauses)
		}
		if longest > 2*time.Second {
			t.Errorf("no heartbeat for %s", longest)
		}
		if h := c.Health()[0]; h.Failures != 0 || h.Standing != relays.Good {
			t.Errorf("a relay that was busy has the health %+v", h)
		}
	})
}

// Invariant: the wait for busy relays ends after Patience, with an error that names the busy relays and their Retry-After.
func TestPatienceWithBusyRelaysEnds(t *testing.T) {
	for name, after := range map[string]string{"short": "1", "longer than the patience": "600"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bubbleClient(t, Config{Relays: []string{"http://a", "http://b"}, Patience: 20 * time.Second}, func(*http.Request) *http.Response {
					return busyAnswer(after)
				})
				begin := time.Now()
				err := all(c, nil)
				var e *Error
				if !errors.As(err, &e) || len(e.Attempts) != 2 || e.RetryAfter() < time.Second || errors.Is(err, ErrStalled) {
					t.Fatalf("got %v, want an *Error with a RetryAfter", err)
				}
				if d := time.Since(begin); d > 20*time.Second {
					t.Errorf("it failed after %s", d)
				}
			})
		})
	}
}

// Invariant: while one relay is busy another serves at once; a relay that is down does not shorten the Retry-After of a busy one.
func TestBusyRelayAndOthers(t *testing.T) {
	t.Run("another is free", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			c := bubbleClient(t, Config{Relays: []string{"http://a", "http://b"}}, func(*http.Request) *http.Response {
				if n++; n == 1 {
					return busyAnswer("9")
				}
				return given()
			})
			begin := time.Now()
			if err := all(c, nil); err != nil || time.Since(begin) != 0 {
				t.Errorf("%v after %s, want the object at once", err, time.Since(begin))
			}
		})
	})
	t.Run("another is down in the middle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var busy time.Time
			down, n := 0, 0
			c := bubbleClient(t, Config{Relays: []string{"http://a", "http://b"}}, func(r *http.Request) *http.Response {
				n++
				switch {
				case n == 1:
					return half()
				case busy.IsZero():
					busy = time.Now()
					return busyAnswer("4")
				case time.Since(busy) < 4*time.Second:
					down++
					return nil // the one that broke
				}
				return rest(t, r)
			})
			if err := all(c, nil); err != nil {
				t.Fatal(err)
			}
			if down < 2 {
				t.Errorf("the relay that is down received %d requests", down)
			}
		})
	})
}

// Invariant: a broken pull continues while relays answer that they are busy, and each new byte restarts Patience.
func TestBusyRelayInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := bubbleClient(t, Config{Relays: []string{"http://a"}, Patience: 30 * time.Second}, func(r *http.Request) *http.Response {
			switch n++; n {
			case 1, 2, 3:
				return busyAnswer("5")
			case 4:
				return half()
			case 5, 6, 7:
				return busyAnswer("5")
			}
			return rest(t, r)
		})
		begin := time.Now()
		if err := all(c, nil); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d < 30*time.Second {
			t.Errorf("it took %s, want at least six times 5s", d)
		}
	})
}

func TestCancelEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("closing")
		c := bubbleClient(t, Config{Relays: []string{"http://a"}}, func(*http.Request) *http.Response {
			time.AfterFunc(time.Second, func() { cancel(why) })
			return busyAnswer("5")
		})
		begin := time.Now()
		if _, err := c.Object(ctx, someObject, nil); !errors.Is(err, why) || time.Since(begin) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(begin))
		}
	})
}

// Invariant: a relay that sent wrong bytes ranks last for a while, even after a wait for a busy relay; then it ranks like
// the others.
func TestDistrustEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := map[string]int{}
		busy := false
		c := bubbleClient(t, Config{Relays: []string{"http://a", "http://b"}}, func(r *http.Request) *http.Response {
			if busy {
				busy = false
				return busyAnswer("2")
			}
			served[r.URL.Host]++
			return given()
		})
		body, err := c.Object(t.Context(), someObject, nil)
		if err != nil {
			t.Fatal(err)
		}
		first := body.src.from.URL().Host
		body.Refuse(errors.New("wrong digest"))
		body.Close()
		for range 10 {
			busy = true
			if err := all(c, nil); err != nil {
				t.Fatal(err)
			}
		}
		if served[first] != 1 {
			t.Errorf("the distrusted relay received %d requests, want 1", served[first])
		}
		time.Sleep(DefaultDistrust)
		if err := all(c, nil); err != nil || served[first] != 2 {
			t.Errorf("after its distrust the relay received %d requests, %v; want 2", served[first], err)
		}
	})
}
