package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
)

// Invariant: environments with a namespace each, on one NATS and one Redis, know nothing of each other, although their datasets and
// instances have the same names: whatever is published, restored, deleted or stopped in the one, the instances of the other stay fresh
// on their own version, and neither `publish --wait` nor `status` finds the other's instances.
func TestNamespacesKeepEnvironmentsApart(t *testing.T) {
	redis, nats := servertest.Redis(t), servertest.NATS(t)
	environment := func(namespace string) *restoration {
		w := newEnvironment(t, &system{Redis: redis, NATS: nats, namespace: namespace}, filepath.Join(t.TempDir(), "store"), 1)
		w.ledger = newLedger(t, w.system, "prices", restoreKeys)
		w.follow("one", true)
		w.follow("two", false)
		return w
	}
	prod, staging := environment(""), environment("staging-2")
	for prod.newest() < 4 {
		prod.patch(8)
	}
	both := func(phase string) {
		t.Helper()
		prod.follows("prod: " + phase)
		staging.follows("staging: " + phase)
	}
	both("versions 4 and 1")
	prod.publishWaiting()
	staging.publishWaiting()
	both("each published and waited")

	copied, history := staging.copied(), slices.Clone(staging.history)
	staging.patch(8)
	staging.patch(8)
	both("before staging is restored")
	staging.down()
	staging.exchange(copied, history)
	staging.up()
	restored := time.Now()
	staging.patch(8)
	prod.stays("staging is restored from an older copy")
	both("staging is restored")

	if err := jetStream(t, nats.URL).DeleteStream(t.Context(), streamName+"_STAGING-2"); err != nil {
		t.Fatal(err)
	}
	staging.patch(8)
	prod.stays("the event log of staging is deleted")
	both("the event log of staging is deleted")

	prod.Publisher.Stop()
	for _, i := range prod.fleet {
		i.stop()
	}
	staging.stays("prod is down")
	if _, err := prod.freshet(t.Context(), "status", "prices", "--fail-if-stale"); exitCode(err) == 0 {
		t.Error("prod is down, and its status takes the instances of staging for its own")
	}
	prod.Publisher.Start()
	for _, i := range prod.fleet {
		i.start()
	}
	both("prod is up again")
	for _, w := range []*restoration{prod, staging} {
		for _, i := range w.fleet {
			if s := i.whole(t); s.ForeignMessages > 0 || s.StoreWarning != "" {
				t.Errorf("%s of namespace %q heard %d messages of another store: %s", i.name, w.namespace, s.ForeignMessages, s.StoreWarning)
			}
		}
		w.checkClaims(restored, restored.Add(settles))
	}
}

// whole returns the full status of the instance.
func (i *follower) whole(t *testing.T) (s fleet.Status) {
	t.Helper()
	code, _, body, err := do(t.Context(), http.MethodGet, i.URL+"/v1/status", "", nil)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%d %s", code, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Invariant: two environments that share the default namespace are told so, by `publish --wait`, by the publishers and by the
// instances, and told of FRESHET_NAMESPACE. Once one of them has a namespace and the publishers are started again, both are well.
func TestNamespaceEndsADisputeOfTwoStores(t *testing.T) {
	prod := newRestoration(t, 1)
	prod.follow("one", true)
	folder := filepath.Join(t.TempDir(), "store")
	staging := newEnvironment(t, &system{Redis: prod.Redis, NATS: prod.NATS}, folder, 1)
	staging.ledger = newLedger(t, staging.system, "prices", restoreKeys)

	const remedy = "its own FRESHET_NAMESPACE"
	for ended := 0; ended != 6; {
		staging.Publisher.Stop() // it replaces what another store announced, at most once a minute
		staging.Publisher.Start()
		staging.patch(8)
		text, next := prod.change(8)
		file := filepath.Join(t.TempDir(), "changes.ndjson")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := prod.freshet(t.Context(), "publish", "prices", file, "--patch", "--wait", "--wait-timeout", followsWithin.String())
		prod.history = append(prod.history, next)
		if ended = exitCode(err); ended != 0 && (ended != 6 || !strings.Contains(err.Error(), remedy)) {
			t.Fatalf("publish --wait ends with %v", err)
		}
		if prod.newest() > 10 {
			t.Fatal("publish --wait ends well ten times, and the log holds another store's versions")
		}
	}
	if s := prod.fleet[0].whole(t); s.ForeignMessages == 0 || !strings.Contains(s.StoreWarning, remedy) {
		t.Errorf("the instance heard %d messages of another store, and warns: %q", s.ForeignMessages, s.StoreWarning)
	}

	staging.down()
	moved := newEnvironment(t, &system{Redis: prod.Redis, NATS: prod.NATS, namespace: "staging"}, folder, 1)
	moved.ledger = staging.ledger
	moved.ledger.s = moved.system
	moved.follow("one", true)
	moved.follows("with a namespace, before anything is published in it")
	prod.Publisher.Stop()
	prod.Publisher.Start()
	heard := prod.fleet[0].whole(t).ForeignMessages
	for range 2 {
		moved.publishWaiting()
		prod.publishWaiting()
	}
	moved.stays("with a namespace of its own")
	prod.stays("with the default namespace alone")
	if now := prod.fleet[0].whole(t).ForeignMessages; now > heard+1 { // the last event in the log may be read once more
		t.Errorf("the instance heard %d messages of another store after that had a namespace of its own", now-heard)
	}
	if s := moved.fleet[0].whole(t); s.ForeignMessages > 0 || s.StoreWarning != "" {
		t.Errorf("the instance of the namespace heard %d messages of another store: %s", s.ForeignMessages, s.StoreWarning)
	}
}
