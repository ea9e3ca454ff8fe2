package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Invariant: an instance that is killed is missed, by name, although it says nothing any more; once it is back nobody
// calls it silent for the record that its dead process left. One that stops as it should is not missed.
func TestKilledInstanceIsMissed(t *testing.T) {
	const name = "browser-compat"
	s := newSystem(t, "", 3, name)
	check := func(code int, text string, args ...string) {
		t.Helper()
		eventually(t, func(ctx context.Context) error {
			out, err := s.freshet(ctx, append([]string{"status", name, "--fail-if-stale"}, args...)...)
			got := 0
			if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
				got = ended.ExitCode()
			}
			if all := fmt.Sprint(out, err); got != code || !strings.Contains(all, text) || code == 0 && strings.Contains(all, "silent") {
				return fmt.Errorf("exit code %d, want %d with %q: %s", got, code, text, all)
			}
			return nil
		})
	}
	rec := s.post(t, name, shipped(t)[0])
	for _, instance := range s.Instances {
		awaitVersion(t, instance, name, rec.Version)
	}
	check(0, "instance-2")
	s.Instances[1].Kill()
	check(7, "stale: "+name+": instance-2: silent: it does not answer")
	s.Instances[1].Start()
	check(0, "instance-2")

	s.Instances[2].Stop()
	check(0, "instance-2")
	out, err := s.freshet(t.Context(), "status")
	if err != nil || strings.Contains(out, "instance-3") {
		t.Errorf("an instance that stopped is still there: %v in\n%s", err, out)
	}
}
