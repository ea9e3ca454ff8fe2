package e2e

import (
	"context"
	"fmt"
	"testing"

	"freshet.dev/pkg/servertest"
)

// Invariant: bytes that are damaged between the store and a relay, and so lie in the caches of two tiers, are not served,
// and do not outlive the damage: an instance without another relay has them read anew.
func TestStormDamageBeforeTheRelay(t *testing.T) {
	bucket := servertest.S3(t)
	between := newProxy(t, bucket.Endpoint)
	damaged := *bucket
	damaged.Endpoint = between.URL
	s := newStorm(t, bucket.URL("freshet"))
	rec := s.publish("prices", 60, large/2)
	between.flip.Store(1_500_000)
	near := s.relay(damaged.URL("freshet"))
	far := s.relay(near.URL)
	sub := s.instance([]string{"prices"}, far.URL)
	eventually(t, func(context.Context) error {
		if r := relayStatus(t, sub, far.URL); r.Refusals == 0 {
			return fmt.Errorf("no wrong byte has come yet: %+v", r)
		}
		return nil
	})
	if servedTable(t, sub, "prices") != nil {
		t.Error("something is served")
	}
	between.flip.Store(0)
	checkServed(t, sub, rec)
}
