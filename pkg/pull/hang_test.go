package pull

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// hanging is two relays. The one with the given host accepts requests and never answers.
func hanging(t *testing.T, host *string, answer func() *http.Response) *Client {
	t.Helper()
	return bubbleClient(t, Config{Relays: []string{"http://one", "http://two"}}, func(r *http.Request) *http.Response {
		if r.URL.Host == *host {
			<-r.Context().Done()
			return nil
		}
		return answer()
	})
}

// A relay that hangs delays an object by less than half a second. After two seconds of silence it ranks after the other relay.
func TestRelayThatHangsDelaysNoObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs string
		c := hanging(t, &hangs, given)
		hangs = c.relays.InOrder(someObject.Digest[:])[0].URL().Host
		for _, most := range []time.Duration{hedgeAfter, hedgeAfter, 0} {
			began := time.Now()
			if err := all(c, nil); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > most {
				t.Errorf("the object took %s, want at most %s", d, most)
			}
			time.Sleep(silentAfter / 2)
			synctest.Wait()
		}
		for _, h := range c.Health() {
			if bad := h.Relay == "http://"+hangs; bad != (h.Standing == relays.Failed) || bad && !errors.Is(h.Err, errSilent) {
				t.Errorf("%+v", h)
			}
		}
		if c.hedges.left < hedgeBurst-1 {
			t.Errorf("%v hedges are left", c.hedges.left)
		}
	})
}

// Relays that are equally slow have not failed: the first request is answered first.
func TestSlowRelaysHaveNotFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bubbleClient(t, Config{Relays: []string{"http://one", "http://two"}}, func(*http.Request) *http.Response {
			time.Sleep(2 * time.Second)
			return given()
		})
		if err := all(c, nil); err != nil {
			t.Fatal(err)
		}
		for _, h := range c.Health() {
			if h.Standing != relays.Good {
				t.Errorf("%+v", h)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

// A relay that hangs delays the answers of the others for the newest version by a second, with any number of relays.
func TestLatestOmitsARelayThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := "two"
		c := hanging(t, &hangs, func() *http.Response {
			return response(http.StatusNotFound, nil)
		})
		began := time.Now()
		got, silent, err := c.LatestOfAll(t.Context(), "prices", dataset.StoreID{})
		if !slices.Equal(silent, []string{"http://two"}) {
			t.Errorf("the silent relays are %q", silent)
		}
		if err != nil || len(got) != 1 || got[0].Relay != "http://one" {
			t.Errorf("got %+v, %v", got, err)
		}
		if d := time.Since(began); d > lateAfter {
			t.Errorf("it took %s", d)
		}
	})
}

// Invariant: a slow relay is awaited while the others read another store than the caller's, because it may read the caller's.
func TestSlowRelayIsAwaitedWhileOthersReadAnotherStore(t *testing.T) {
	storeA, storeB := dataset.StoreID{0xa}, dataset.StoreID{0xb}
	for slow, want := range map[time.Duration]struct {
		answers, silent int
		took            time.Duration
	}{
		0:                                {2, 0, 0},
		lateAfter + 500*time.Millisecond: {2, 0, lateAfter + 500*time.Millisecond},
		time.Minute:                      {1, 1, lateAfterOther},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := bubbleClient(t, Config{Relays: []string{"http://one", "http://two", "http://down"}}, func(r *http.Request) *http.Response {
				switch r.URL.Host {
				case "one":
					select {
					case <-time.After(slow):
					case <-r.Context().Done():
						return nil
					}
					return response(http.StatusNotFound, nil, StoreHeader, storeA.String())
				case "two":
					return response(http.StatusNotFound, nil, StoreHeader, storeB.String())
				}
				return nil // refuses the connection
			})
			began := time.Now()
			all, silent, err := c.LatestOfAll(t.Context(), "prices", storeA)
			if err != nil || len(all) != want.answers || len(silent) != want.silent {
				t.Errorf("slow by %s: got %+v, the silent relays are %q, %v", slow, all, silent, err)
			}
			if took := time.Since(began); took != want.took {
				t.Errorf("slow by %s: it took %s, want %s", slow, took, want.took)
			}
			// The first answer from the caller's own store sets the time.
			began = time.Now()
			if _, _, err := c.LatestOfAll(t.Context(), "prices", storeB); err != nil || time.Since(began) > lateAfter {
				t.Errorf("slow by %s: %v after %s", slow, err, time.Since(began))
			}
		})
	}
}

// A relay that answers with an error is up, and may read any store.
func TestRelayWithAnErrorIsSilent(t *testing.T) {
	c := bubbleClient(t, Config{Relays: []string{"http://one", "http://two"}}, func(r *http.Request) *http.Response {
		if r.URL.Host == "one" {
			return busyAnswer("3")
		}
		return response(http.StatusNotFound, nil)
	})
	all, silent, err := c.LatestOfAll(t.Context(), "prices", dataset.StoreID{})
	if err != nil || len(all) != 1 || !slices.Equal(silent, []string{"http://one"}) {
		t.Errorf("got %+v, the silent relays are %q, %v", all, silent, err)
	}
}

// A relay that is late by a second has not failed: that takes two seconds of silence.
func TestLateRelayHasNotFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := "two"
		c := hanging(t, &hangs, func() *http.Response { return response(http.StatusNotFound, nil) })
		if _, _, err := c.LatestOfAll(t.Context(), "prices", dataset.StoreID{}); err != nil {
			t.Fatal(err)
		}
		for _, h := range c.Health() {
			if h.Standing != relays.Good || h.Failures > 0 {
				t.Errorf("%+v", h)
			}
		}
	})
}
