package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
)

// Invariant: with NATS, Redis, relay, publisher and store all gone, instances go on serving, and one that is started again serves the
// same from its cache folder; each says so, and that it is blind. When all is back, all heal.
func TestFaultEverythingElseIsDown(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	tr := newTrial(t, "NATS, Redis, relay, publisher and store all gone", setting{store: "dir://" + root})
	v := tr.newest()
	tr.cached(v)
	tr.begin()
	began := time.Now()
	tr.Publisher.Kill()
	tr.Relay.Kill()
	tr.NATS.Kill()
	tr.Redis.Kill()
	if err := os.Rename(root, root+".gone"); err != nil {
		t.Fatal(err)
	}
	restarted := tr.instances[1]
	restarted.kill()
	restarted.start()
	tr.await("one was started again", serving(v), restarted)
	if !strings.Contains(restarted.Log(), "cache") {
		t.Error("the log of the one that was started again does not say that it serves from its cache folder")
	}
	tr.await("all is down", saying(fleet.Blind, v))
	for i, from := range []fleet.Origin{fleet.Relay, fleet.Cache} {
		tr.await("all is down", func(d fleet.DatasetStatus) error {
			if d.From != from {
				return fmt.Errorf("it serves from %s, want from %s", d.From, from)
			}
			return nil
		}, tr.instances[i])
		if err := healthy(t.Context(), tr.instances[i].URL+"/readyz"); err != nil {
			t.Errorf("it serves, and yet: %v", err)
		}
	}
	wait(t, 2*time.Second)
	tr.await("all is still down", saying(fleet.Blind, v))
	tr.never(began.Add(blindAfter+late), fleet.Fresh, fleet.Refreshing, fleet.Lagging)
	if err := os.Rename(root+".gone", root); err != nil {
		t.Fatal(err)
	}
	tr.Redis.Start()
	tr.NATS.Start()
	tr.Relay.Start()
	tr.Publisher.Start()
	tr.end()
	tr.healed()
}
