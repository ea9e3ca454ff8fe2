package pull

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// slowFirst is three relays. Those that rank first for the object answer after the given times. It counts the requests.
func slowFirst(t *testing.T, after ...time.Duration) (*Client, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	slow := make(map[string]time.Duration)
	c := bubbleClient(t, Config{Relays: []string{"http://one", "http://two", "http://three"}}, func(r *http.Request) *http.Response {
		requests.Add(1)
		select {
		case <-time.After(slow[r.URL.Host]):
			return given()
		case <-r.Context().Done():
			return nil
		}
	})
	for i, r := range c.relays.InOrder(someObject.Digest[:])[:len(after)] {
		slow[r.URL().Host] = after[i]
	}
	return c, &requests
}

func wantGood(t *testing.T, c *Client) {
	t.Helper()
	for _, h := range c.Health() {
		if h.Standing != relays.Good || h.Failures > 0 {
			t.Errorf("%+v", h)
		}
	}
}

// Invariant: an overtaken relay that answers within two seconds has not failed.
func TestOvertakenRelayHasNotFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, requests := slowFirst(t, silentAfter-time.Millisecond)
		began := time.Now()
		if err := all(c, nil); err != nil || time.Since(began) != hedgeAfter {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		wantGood(t, c)
		if n := requests.Load(); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

// An overtaken relay that breaks the connection has failed, even after the end of the pull.
func TestOvertakenRelayThatBreaksHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bubbleClient(t, Config{Relays: []string{"http://one", "http://two"}}, nil)
		first := c.relays.InOrder(someObject.Digest[:])[0].URL().Host
		c.http.Transport = relayFunc(func(r *http.Request) *http.Response {
			if r.URL.Host == first {
				time.Sleep(time.Second)
				return nil
			}
			return given()
		})
		ctx, cancel := context.WithCancel(t.Context())
		body, err := c.Object(ctx, someObject, nil)
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		cancel()
		wantGood(t, c)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, h := range c.Health() {
			if bad := h.Relay == "http://"+first; bad != (h.Standing == relays.Failed) {
				t.Errorf("%+v", h)
			}
		}
	})
}

// Invariant: an object costs at most one more request if all relays are slow, and two if relays hang.
func TestHedgesOfAnObject(t *testing.T) {
	for name, one := range map[string]struct {
		after    []time.Duration
		took     time.Duration
		requests int64
	}{
		"all are slow":    {[]time.Duration{2 * time.Second, 2 * time.Second, 2 * time.Second}, 2 * time.Second, 2},
		"two hang":        {[]time.Duration{time.Hour, time.Hour}, hedgeAfter + silentAfter, 3},
		"the first hangs": {[]time.Duration{time.Hour, time.Second, 0}, hedgeAfter + time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, requests := slowFirst(t, one.after...)
				began := time.Now()
				if err := all(c, nil); err != nil || time.Since(began) != one.took || requests.Load() != one.requests {
					t.Errorf("%v after %s and %d requests", err, time.Since(began), requests.Load())
				}
				time.Sleep(time.Minute)
				synctest.Wait()
			})
		})
	}
}

// Invariant: if the store makes all relays slow, the hedges are a small share of the requests.
func TestHedgesOfASlowStoreAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, requests := slowFirst(t, time.Second, time.Second, time.Second)
		const objects = 1000
		for range objects {
			if err := all(c, nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := requests.Load(); n > objects*11/10 || n < objects+hedgeBurst {
			t.Errorf("%d requests for %d objects", n, objects)
		}
		wantGood(t, c)
	})
}

// A relay that hangs delays at most as many concurrent objects as the budget has hedges by more than silentAfter.
func TestRelayThatHangsAndManyObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := slowFirst(t, time.Hour)
		began := time.Now()
		var pulls sync.WaitGroup
		for range 4 * hedgeBurst {
			pulls.Go(func() {
				if err := all(c, nil); err != nil {
					t.Error(err)
				}
			})
		}
		pulls.Wait()
		if d := time.Since(began); d > 2*silentAfter+2*hedgeAfter {
			t.Errorf("it took %s", d)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

// Close ends the requests that outlived their pulls.
func TestCloseEndsWhatOutlivedAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := slowFirst(t, time.Hour)
		if err := all(c, nil); err != nil {
			t.Fatal(err)
		}
		c.Close()
		synctest.Wait()
		time.Sleep(time.Minute)
		wantGood(t, c)
	})
}

// Invariant: a panic while a relay's answer is read is the failure of that request, and ends no process.
func TestPanicIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bubbleClient(t, Config{Relays: []string{"http://one"}}, func(*http.Request) *http.Response { panic("boom") })
		if err := all(c, nil); err == nil || !strings.Contains(err.Error(), "panic: boom") {
			t.Errorf("an object: %v", err)
		}
		_, silent, err := c.LatestOfAll(t.Context(), "prices", dataset.StoreID{})
		if err == nil || !strings.Contains(err.Error(), "panic: boom") || len(silent) != 1 {
			t.Errorf("the newest version: %v, the silent relays are %q", err, silent)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}
