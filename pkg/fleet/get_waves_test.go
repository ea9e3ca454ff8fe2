package fleet_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"github.com/nats-io/nats.go"
)

// atATime is how many instances are asked for fleet.MaxGetKeys records at a time: each answer may have 1 MiB, and all of them 16 MiB.
const atATime = 16

// withoutAnswers returns a Get of n instances, whose requests the channel gets instead of them.
func withoutAnswers(t *testing.T, url string, n int) (opts fleet.GetOptions, fake *nats.Conn, requests chan *nats.Msg) {
	t.Helper()
	opts = fleet.GetOptions{Dataset: "prices", Wait: time.Minute}
	for i := range fleet.MaxGetKeys {
		opts.Keys = append(opts.Keys, fmt.Append(nil, i))
	}
	for i := range n {
		opts.Instances = append(opts.Instances, fleet.Status{Instance: fmt.Sprint(i), Run: fmt.Sprintf("RUN%d", i)})
	}
	fake, requests = connect(t, url), make(chan *nats.Msg, n)
	if _, err := fake.ChanSubscribe("freshet.v1.instances.get.*", requests); err != nil {
		t.Fatal(err)
	}
	if err := fake.Flush(); err != nil {
		t.Fatal(err)
	}
	return opts, fake, requests
}

// Invariant: the answers that may arrive at a time are bounded, and every instance is asked. The instances answer when no more requests
// come, as if all of them were slow.
func TestGetFromManyInstances(t *testing.T) {
	ctx, s, nc := start(t)
	const n = 3*atATime + 4
	opts, fake, requests := withoutAnswers(t, s.URL, n)
	type result struct {
		answers []fleet.Answer
		err     error
	}
	done := make(chan result, 1)
	go func() {
		answers, err := fleet.Get(ctx, nc, opts)
		done <- result{answers, err}
	}()
	answer := []byte(`{"version":7,"records":[` + strings.Repeat("{},", fleet.MaxGetKeys-1) + "{}]}")
	for asked := 0; asked < n; {
		var held []*nats.Msg
		for len(held) < min(atATime, n-asked) {
			select {
			case m := <-requests:
				held = append(held, m)
			case <-ctx.Done():
				t.Fatalf("%d of %d instances were asked", asked+len(held), n)
			}
		}
		if err := errors.Join(nc.Flush(), fake.Flush()); err != nil { // whatever has been sent is here now
			t.Fatal(err)
		}
		if more := len(requests); more > 0 {
			t.Fatalf("%d requests at a time, want %d", len(held)+more, atATime)
		}
		asked += len(held)
		for _, m := range held {
			if err := m.Respond(answer); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	for i, a := range got.answers {
		if a.Err != nil || a.Instance != opts.Instances[i].Instance || len(a.Records) != fleet.MaxGetKeys {
			t.Errorf("%+v", a)
		}
	}
}

// Invariant: the time of an instance begins with its request, so silent instances take none of the time of those after them.
func TestEachInstanceHasItsTime(t *testing.T) {
	ctx, s, nc := start(t)
	const n = atATime + 1
	opts, fake, requests := withoutAnswers(t, s.URL, n)
	opts.Wait = 50 * time.Millisecond
	began := time.Now()
	answers, err := fleet.Get(ctx, nc, opts)
	if took := time.Since(began); err != nil || took < 2*opts.Wait {
		t.Errorf("it took %v: %v", took, err)
	}
	for _, a := range answers {
		if !errors.Is(a.Err, fleet.ErrSilent) || a.Err.Error() != "the instance does not answer: no answer within 50ms" {
			t.Errorf("%s: %v", a.Instance, a.Err)
		}
	}
	if err := errors.Join(nc.Flush(), fake.Flush()); err != nil {
		t.Fatal(err)
	}
	if len(requests) != n {
		t.Errorf("%d of %d instances were asked", len(requests), n)
	}
}
