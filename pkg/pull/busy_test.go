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

// relayFunc answers in the place of a relay, so that a test runs in a bubble, where time passes by itself.
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

func comeAgain(after string) *http.Response {
	return response(http.StatusServiceUnavailable, nil, "Retry-After", after)
}

func given() *http.Response { return response(http.StatusOK, bytes.NewReader(bytesOfObject)) }

// rest is the answer of a relay that goes on where half breaks off.
func rest(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	if r.Header.Get("Range") != "bytes=8000-" {
		t.Errorf("asked for %q", r.Header.Get("Range"))
	}
	return response(http.StatusPartialContent, bytes.NewReader(bytesOfObject[8000:]), "Content-Range", "bytes 8000-15999/16000")
}

// half is an answer that breaks off in the middle.
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

// Invariant: a relay that says "come again in 3 s" is asked again after 3 s and not before, with jitter on top, and the
// pull that waits takes a step more often than a stall takes.
func TestBusyRelayIsAskedAgainWhenItSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Time
		c := bubbleClient(t, Config{Relays: []string{"http://a"}, StallTimeout: 2 * time.Second}, func(*http.Request) *http.Response {
			asked = append(asked, time.Now())
			if len(asked) <= 4 {
				return comeAgain("3")
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
			t.Errorf("no step for %s", longest)
		}
		if h := c.Health()[0]; h.Failures != 0 || h.Standing != relays.Good {
			t.Errorf("a relay that was busy has the health %+v", h)
		}
	})
}

// Invariant: waiting for busy relays ends after Patience, with an error that says who is busy and when to come again.
func TestPatienceWithBusyRelaysEnds(t *testing.T) {
	for name, after := range map[string]string{"short": "1", "longer than the patience": "600"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := bubbleClient(t, Config{Relays: []string{"http://a", "http://b"}, Patience: 20 * time.Second}, func(*http.Request) *http.Response {
					return comeAgain(after)
				})
				begin := time.Now()
				err := all(c, nil)
				var e *Error
				if !errors.As(err, &e) || len(e.Attempts) != 2 || e.RetryAfter() < time.Second || errors.Is(err, ErrStalled) {
					t.Fatalf("got %v, want an *Error that says to come again", err)
				}
				if d := time.Since(begin); d > 20*time.Second {
					t.Errorf("gave up after %s", d)
				}
			})
		})
	}
}

// Invariant: while one relay is busy another serves at once; a relay that is down does not shorten what a busy one named.
func TestBusyRelayAndOthers(t *testing.T) {
	t.Run("another is free", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			c := bubbleClient(t, Config{Relays: []string{"http://a", "http://b"}}, func(*http.Request) *http.Response {
				if n++; n == 1 {
					return comeAgain("9")
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
					return comeAgain("4")
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
				t.Errorf("the relay that is down was asked %d times meanwhile", down)
			}
		})
	})
}

// Invariant: a pull that broke is not given up while relays say that they are busy, and each byte that comes renews the
// patience.
func TestBusyRelayInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := bubbleClient(t, Config{Relays: []string{"http://a"}, Patience: 30 * time.Second}, func(r *http.Request) *http.Response {
			switch n++; n {
			case 1, 2, 3:
				return comeAgain("5")
			case 4:
				return half()
			case 5, 6, 7:
				return comeAgain("5")
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
			return comeAgain("5")
		})
		begin := time.Now()
		if _, err := c.Object(ctx, someObject, nil); !errors.Is(err, why) || time.Since(begin) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(begin))
		}
	})
}

// Invariant: a relay that gave wrong bytes is asked last for a while, and rather a busy one is waited for; then it is
// as good as the others.
func TestDistrustEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := map[string]int{}
		busy := false
		c := bubbleClient(t, Config{Relays: []string{"http://a", "http://b"}}, func(r *http.Request) *http.Response {
			if busy {
				busy = false
				return comeAgain("2")
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
			t.Errorf("the distrusted relay was asked %d times, want once", served[first])
		}
		time.Sleep(DefaultDistrust)
		if err := all(c, nil); err != nil || served[first] != 2 {
			t.Errorf("after its time the relay was asked %d times, %v; want 2", served[first], err)
		}
	})
}
