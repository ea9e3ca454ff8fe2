package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/fleet"
)

// Invariant: a version that an instance dies of twice, right after it began to serve it, does not kill it a third time: the instance
// comes back with the version before, says quarantined, of which version and what to do, is stale for `freshet status --fail-if-stale`,
// and takes the next version. An instance that stops in good order, however often, is not held back.
func TestFaultVersionKillsAnInstance(t *testing.T) {
	tr := newTrial(t, "a version kills an instance, twice", setting{})
	v := tr.newest()
	tr.cached(v)
	hit, other := tr.instances[0], tr.instances[1]
	tr.begin()
	bad := tr.publish()
	tr.await("the version is served", fresh(bad.Version))
	tr.cached(bad.Version)
	for round := range 2 {
		hit.kill()
		hit.comesBackWith(v)
		hit.start()
		other.terminate()
		other.start()
		if round == 0 {
			tr.await("it was started again", fresh(bad.Version))
		}
	}
	tr.await("the version is quarantined", func(d fleet.DatasetStatus) error {
		if d.Version != v || d.State != fleet.Quarantined || d.Quarantined != bad.Ref() {
			return fmt.Errorf("it serves version %d, says %s, and that %s is quarantined; want version %d, and %s", d.Version, d.State,
				d.Quarantined, v, bad.Ref())
		}
		if !strings.Contains(d.Warning, bad.Ref().String()) || !strings.Contains(d.Warning, "boot.json") {
			return errors.New("it does not say what to do: " + d.Warning)
		}
		return nil
	}, hit)
	tr.await("the version is served", fresh(bad.Version), other)
	if err := healthy(t.Context(), hit.URL+"/readyz"); err != nil {
		t.Errorf("it serves, and yet: %v", err)
	}
	out, err := tr.freshet(t.Context(), "status", tr.name, "--fail-if-stale")
	if exitCode(err) != 7 || !strings.Contains(fmt.Sprint(err), "quarantined") {
		t.Errorf("status --fail-if-stale says %s, %v; want exit code 7 and why", out, err)
	}
	tr.end()
	tr.publish()
	tr.healed()
}
