package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

var errDamaged = errors.New("damaged")

// fleet is several fake relays that all have the object.
type fleet struct {
	*Client
	breakAt map[string]int // by host: the offset where its first answer breaks
	from    []string       // host and offset of each request, in order
	noCache int            // requests with Cache-Control: no-cache
	refused []Refusal
}

func newFleet(t *testing.T, hosts ...string) *fleet {
	t.Helper()
	f := &fleet{breakAt: map[string]int{}}
	cfg := Config{Refused: func(r Refusal) { f.refused = append(f.refused, r) }}
	for _, h := range hosts {
		cfg.Relays = append(cfg.Relays, "http://"+h)
	}
	f.Client = bubbleClient(t, cfg, func(r *http.Request) *http.Response {
		at := 0
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at)
		f.from = append(f.from, fmt.Sprint(r.URL.Host, " ", at))
		if r.Header.Get("Cache-Control") == "no-cache" {
			f.noCache++
		}
		var body io.Reader = bytes.NewReader(bytesOfObject[at:])
		if n, ok := f.breakAt[r.URL.Host]; ok {
			delete(f.breakAt, r.URL.Host)
			body = io.MultiReader(io.LimitReader(body, int64(n-at)), broken{})
		}
		if at == 0 {
			return response(http.StatusOK, body)
		}
		return response(http.StatusPartialContent, body, "Content-Range", fmt.Sprintf("bytes %d-15999/16000", at))
	})
	return f
}

// hosts returns the relays' hosts in their order for the object.
func (f *fleet) hosts() []string {
	var all []string
	for _, r := range f.relays.InOrder(someObject.Digest[:]) {
		all = append(all, r.URL().Host)
	}
	return all
}

// begin reads the first n bytes.
func (f *fleet) begin(t *testing.T, n int) *Body {
	t.Helper()
	body, err := f.Object(context.Background(), someObject, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(body, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	return body
}

func (f *fleet) refusals() map[string]uint64 {
	all := map[string]uint64{}
	for i, h := range f.Health() {
		if h.Refusals > 0 {
			all[f.relays.All()[i].URL().Host] = h.Refusals
		}
	}
	return all
}

func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// Invariant: only the relay that sent wrong bytes is refused, and the object continues at the given offset.
func TestRewindRefusesTheRelayOfTheBytes(t *testing.T) {
	rest := func(t *testing.T, body *Body, from int) {
		t.Helper()
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, bytesOfObject[from:]) {
			t.Errorf("then came %d bytes, %v; want those from %d on", len(got), err, from)
		}
	}
	inBubble(t, "one relay gave all", func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		hosts := f.hosts()
		body := f.begin(t, 9000)
		defer body.Close()
		if err := body.Rewind(5000, errDamaged); err != nil {
			t.Fatal(err)
		}
		rest(t, body, 5000)
		if want := fmt.Sprint([]string{hosts[0] + " 0", hosts[1] + " 5000"}); fmt.Sprint(f.from) != want {
			t.Errorf("the requests are %v, want %s", f.from, want)
		}
		if r := f.refusals(); len(r) != 1 || r[hosts[0]] != 1 || len(f.refused) != 1 || !errors.Is(f.refused[0].Err, errDamaged) || f.refused[0].Object != someObject {
			t.Errorf("refused are %v, reported were %+v, want %s", r, f.refused, hosts[0])
		}
	})
	inBubble(t, "two relays gave some, the second damaged it", func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		hosts := f.hosts()
		f.breakAt[hosts[0]] = 6000
		body := f.begin(t, 9000)
		defer body.Close()
		if err := body.Rewind(5000, errDamaged); err != nil || len(f.refusals()) != 0 {
			t.Fatalf("%v, refused are %v; want none yet", err, f.refusals())
		}
		if _, err := io.ReadFull(body, make([]byte, 3000)); err != nil { // now all from the second relay
			t.Fatal(err)
		}
		if err := body.Rewind(5000, errDamaged); err != nil {
			t.Fatal(err)
		}
		rest(t, body, 5000)
		if r := f.refusals(); len(r) != 1 || r[hosts[1]] != 1 {
			t.Errorf("refused are %v, want %s", r, hosts[1])
		}
	})
	inBubble(t, "two relays gave some, the first damaged it", func(t *testing.T) {
		f := newFleet(t, "a", "b")
		f.breakAt[f.hosts()[0]] = 6000
		body := f.begin(t, 9000)
		defer body.Close()
		if err := body.Rewind(5000, errDamaged); err != nil {
			t.Fatal(err)
		}
		rest(t, body, 5000)
		if r := f.refusals(); len(r) != 0 {
			t.Errorf("refused are %v, want none", r)
		}
	})
}

// Invariant: when two relays in turn are wrong at the same offset, the bytes before it may be wrong.
func TestRewindFailsTwiceAtTheSameOffset(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		hosts := f.hosts()
		f.breakAt[hosts[0]] = 5000
		body := f.begin(t, 9000)
		defer body.Close()
		if err := body.Rewind(5000, errDamaged); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(body, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		err := body.Rewind(5000, errDamaged)
		if _, again := body.Read(make([]byte, 1)); err == nil || again == nil {
			t.Errorf("the second time: %v, and reading on: %v", err, again)
		}
		body.Refuse(errDamaged) // as a reader does, which does not know of it
		if r := f.refusals(); len(r) != 1 || r[hosts[1]] != 1 {
			t.Errorf("refused are %v, want %s", r, hosts[1])
		}
		if got := f.hosts()[0]; got != hosts[2] {
			t.Errorf("%s ranks first, want %s", got, hosts[2])
		}
	})
}

func TestRewindWithoutAnotherRelay(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		f := newFleet(t, "a")
		body := f.begin(t, 9000)
		defer body.Close()
		if err := body.Rewind(0, errDamaged); err == nil {
			t.Fatal("there is no other relay to read from")
		}
		body.Refuse(errDamaged)
		if f.refusals()["a"] != 1 || len(f.refused) != 1 {
			t.Errorf("refused are %v, reported %d times; want once", f.refusals(), len(f.refused))
		}
		if err := all(f.Client, nil); err != nil {
			t.Errorf("the only relay must still be queried: %v", err)
		}
		if f.noCache != 1 { // it may have received wrong bytes itself
			t.Errorf("%d requests with no-cache, want 1", f.noCache)
		}
	})
}

// Invariant: Refuse distrusts all relays that sent bytes, and Doubt distrusts none.
func TestRefuseAndDoubt(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		hosts := f.hosts()
		f.breakAt[hosts[0]] = 6000
		body := f.begin(t, 16000)
		body.Refuse(errDamaged)
		body.Close()
		if r := f.refusals(); len(r) != 2 || r[hosts[0]] != 1 || r[hosts[1]] != 1 {
			t.Errorf("refused are %v, want %s and %s", r, hosts[0], hosts[1])
		}
		if got := f.hosts()[0]; got != hosts[2] {
			t.Errorf("%s ranks first, want %s", got, hosts[2])
		}
		body = f.begin(t, 100)
		body.Doubt(errDamaged)
		body.Close()
		h := f.Health()
		if len(f.refusals()) != 2 || h[0].Failures+h[1].Failures+h[2].Failures != 2 { // the break and Doubt
			t.Errorf("the relays' health is %+v", h)
		}
	})
}

// Invariant: a relay that reports the object as damaged in its store is not distrusted for it. The object is requested past
// the relay's cache until it is healed.
func TestDamageInTheStore(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		healed := false
		var asked []string // for the healed object
		c := bubbleClient(t, Config{Relays: []string{"http://a"}}, func(r *http.Request) *http.Response {
			switch {
			case r.Header.Get("Cache-Control") == "no-cache" && !healed:
				return response(http.StatusBadGateway, strings.NewReader(`{"type":"https://x/problems/damaged-object","detail":"damaged in the store at file f"}`),
					"Content-Type", "application/problem+json")
			case healed:
				asked = append(asked, r.Header.Get("Cache-Control"))
			}
			return given()
		})
		body, err := c.Object(t.Context(), someObject, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			t.Fatal(err)
		}
		body.Refuse(errDamaged)
		body.Close()
		if h := c.Health()[0]; h.Standing != relays.Distrusted || h.Refusals != 1 {
			t.Errorf("%+v", h)
		}
		for range 3 {
			if err := all(c, nil); err == nil || !strings.Contains(err.Error(), "damaged in the store at file f") {
				t.Errorf("error is %v", err)
			}
			if h := c.Health()[0]; h.Standing != relays.Good || h.Refusals != 1 || h.Failures != 0 || !strings.Contains(h.Err.Error(), "at file f") {
				t.Errorf("%+v", h)
			}
		}
		// The distrust for wrong bytes of another object remains.
		r := c.relays.All()[0]
		c.relays.Refuse(r, errDamaged)
		c.suspects.addRefused(r, dataset.Digest{7})
		c.suspects.addRefused(r, someObject.Digest)
		if err := all(c, nil); err == nil || c.Health()[0].Standing != relays.Distrusted {
			t.Errorf("%v; %+v", err, c.Health()[0])
		}
		time.Sleep(DefaultDistrust)

		healed = true
		for range 2 {
			if err := all(c, nil); err != nil {
				t.Error(err)
			}
		}
		if want := []string{"no-cache", ""}; !slices.Equal(asked, want) {
			t.Errorf("the healed object is requested with Cache-Control %q, want %q", asked, want)
		}
	})
}
