package pull

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/relays"
)

// hanging is two relays, of which the given one takes requests and never answers.
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

// A relay that hangs delays an object by less than half a second, and the next objects not at all: it is asked after the other then.
func TestRelayThatHangsDelaysNoObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs string
		c := hanging(t, &hangs, given)
		hangs = c.relays.InOrder(someObject.Digest[:])[0].URL().Host
		for _, most := range []time.Duration{hedgeAfter, 0} {
			began := time.Now()
			if err := all(c, nil); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > most {
				t.Errorf("the object took %s, want at most %s", d, most)
			}
		}
		for _, h := range c.Health() {
			if bad := h.Relay == "http://"+hangs; bad != (h.Standing == relays.Failed) || bad && !errors.Is(h.Err, errOvertaken) {
				t.Errorf("%+v", h)
			}
		}
		synctest.Wait()
	})
}

// Relays that are slow, and not slower than one another, are not blamed: the first one that was asked answers first.
func TestSlowRelaysAreNotBlamed(t *testing.T) {
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

// A relay that hangs delays what the others say of the newest version by a second, however many relays there are.
func TestRelayThatHangsIsLeftOutOfLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := "two"
		c := hanging(t, &hangs, func() *http.Response {
			return response(http.StatusNotFound, nil)
		})
		began := time.Now()
		got, err := c.LatestOfAll(t.Context(), "prices")
		if err != nil || len(got) != 1 || got[0].Relay != "http://one" {
			t.Errorf("got %+v, %v", got, err)
		}
		if d := time.Since(began); d > straggle {
			t.Errorf("it took %s", d)
		}
	})
}
