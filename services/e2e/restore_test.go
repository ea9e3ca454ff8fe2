package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// exchanged is a way to exchange the store of a running fleet.
type exchanged string

const (
	older    exchanged = "restored from an older copy"
	recreate exchanged = "created again, empty"
	diverged exchanged = "a copy that went on elsewhere"
)

// kind is the treatment of an instance during the exchange of the store.
type kind string

const (
	running   kind = "running"   // it goes on
	restarted kind = "restarted" // it is started again with its cache folder
	wiped     kind = "wiped"     // it is started again, and its cache folder is empty
	cacheless kind = "cacheless" // it is started again, and has no cache folder
	added     kind = "new"       // it is started when the store is exchanged
)

// Invariant: whatever a store is exchanged with, and whatever event log, catalog and cache folders still hold of the one before, every
// instance comes to the content of the present store without help and says fresh only there. No two instances that say fresh differ,
// and none flaps.
func TestInstancesFollowAStoreThatIsExchanged(t *testing.T) {
	cases := []struct {
		store     exchanged
		instances []kind
		log, keys bool // the event log and the catalog are kept
		relays    int
	}{
		{older, []kind{running, added}, true, true, 1},
		{recreate, []kind{running, restarted}, true, true, 1},
		{diverged, []kind{running, added}, true, true, 2},
		{older, []kind{running, restarted}, false, false, 1}, // what the publisher's log once advised
		{older, []kind{running, wiped}, false, true, 1},
		{older, []kind{restarted, added}, true, false, 2},
		{older, []kind{restarted, cacheless}, true, true, 2},
		{older, []kind{cacheless, wiped, added}, false, false, 2},
		{recreate, []kind{running, added}, false, false, 1},
		{recreate, []kind{restarted, wiped}, false, true, 2},
		{recreate, []kind{running, cacheless, added}, true, false, 1},
		{diverged, []kind{running, restarted}, false, false, 2},
		{diverged, []kind{running, wiped, cacheless}, true, false, 1},
		{diverged, []kind{restarted, added}, false, true, 1},
	}
	if testing.Short() {
		cases = cases[:3]
	}
	cases = slices.Repeat(cases, soaked(t, "EXCHANGE_ROUNDS", 1))
	for _, c := range cases {
		name := []string{string(c.store)}
		for _, k := range c.instances {
			name = append(name, string(k))
		}
		name = append(name, keptOrNot("log", c.log), keptOrNot("catalog", c.keys), []string{"", "one relay", "two relays"}[c.relays])
		t.Run(strings.Join(name, ", "), func(t *testing.T) {
			w := newRestoration(t, c.relays)
			for _, k := range c.instances {
				if k != added {
					w.follow(string(k), k != cacheless)
				}
			}
			for w.newest() < 3 {
				w.patch(8)
			}
			backup, history := w.copied(), w.history[:3:3]
			if c.store == diverged {
				history = w.diverge(backup, history, 2)
			}
			w.patch(8)
			w.patch(8)
			w.follows("before the exchange")

			w.down()
			for n, k := range c.instances {
				if k == restarted || k == wiped || k == cacheless {
					w.fleet[n].stop()
				}
				if k == wiped {
					w.fleet[n].wipe(t)
				}
			}
			at := time.Now()
			if c.store == recreate {
				w.exchange("", nil)
			} else {
				w.exchange(backup, history)
			}
			if !c.log {
				w.forgetLog()
			}
			if !c.keys {
				w.Redis.Wipe()
			}
			w.up()
			for _, i := range w.fleet {
				i.start() // those that run stay as they are
			}
			for _, k := range c.instances {
				if k == added {
					w.follow(string(k), true)
				}
			}
			settled := time.Now().Add(settles)

			if c.store == recreate {
				w.lost("the store is empty")
				w.first()
				w.follows("the new store has a first version")
			} else {
				w.follows("the copy is in place")
			}
			w.cost("store "+strings.Join(name, ", "), at, w.began)
			for w.newest() < uint64(len(history))+1 || w.newest() < 4 {
				w.patch(8)
			}
			w.follows("the store goes on")
			w.patch(8)
			w.follows("the store has the number that it had before, or a higher one")
			w.named()
			w.checkClaims(at, settled)
		})
	}
}

func keptOrNot(what string, kept bool) string {
	if kept {
		return what + " kept"
	}
	return what + " deleted"
}

// wipe empties the instance's cache folder.
func (i *follower) wipe(t *testing.T) {
	t.Helper()
	all, err := os.ReadDir(i.cache)
	for _, e := range all {
		if err == nil {
			err = os.RemoveAll(filepath.Join(i.cache, e.Name()))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// named checks that the store's records form a chain from the newest to the first, and that they have the id in the store's identity
// file.
func (w *restoration) named() {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.folder, "store.json"))
	if err != nil {
		w.t.Error(err)
	}
	newest := w.record()
	if newest.Store == "" || !strings.Contains(string(text), newest.Store) {
		w.t.Errorf("the newest record names store %q, and store.json is %q", newest.Store, text)
	}
	for v := w.newest(); v > 1; v-- {
		r, before := identityIn(w.t, w.folder, w.name, v), identityIn(w.t, w.folder, w.name, v-1)
		if r.Previous == "" || r.Previous != before.ID {
			w.t.Errorf("version %d follows %q, and version %d has the id %q", v, r.Previous, v-1, before.ID)
		}
		if r.Store != newest.Store {
			w.t.Errorf("version %d is of store %q, version %d of %q", v, r.Store, w.newest(), newest.Store)
		}
	}
}
