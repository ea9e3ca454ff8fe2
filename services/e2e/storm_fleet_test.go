package e2e

import (
	"fmt"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe"
)

// Invariant: however many instances pull from several relays, each object is read from the store once, by one of them;
// also when a relay is gone.
func TestStormObjectsAreHeldOnce(t *testing.T) {
	const datasets, instances = 24, 4
	s := newStorm(t, "")
	relays := []*program{s.relay(""), s.relay(""), s.relay("")}
	var urls, names []string
	for _, r := range relays {
		urls = append(urls, r.URL)
	}
	for i := range datasets {
		names = append(names, fmt.Sprintf("prices%d", i))
	}
	var subs []*subscribe.Subscriber
	for range instances {
		subs = append(subs, s.instance(names, urls...))
		urls = append(urls[1:], urls[0]) // the order of the list does not matter
	}
	publish := func(seed byte) (bytes int64) {
		var all []dataset.VersionRecord
		for i, name := range names {
			rec := s.publish(name, seed+byte(i), 100)
			all = append(all, rec)
			bytes += rec.Snapshot.Bytes
		}
		for _, sub := range subs {
			for _, rec := range all {
				awaitServed(t, sub, rec)
			}
		}
		return bytes
	}
	want := publish(0)
	read := make([]int64, len(relays))
	var sum int64
	for i, r := range relays {
		read[i] = originBytes(t, r)
		if read[i] == 0 || read[i] > want*2/3 {
			t.Errorf("%s read %d of the %d bytes of all objects", r.URL, read[i], want)
		}
		sum += read[i]
	}
	if sum != want {
		t.Errorf("the relays read %d bytes from the store; the objects have %d", sum, want)
	}

	relays[0].Kill()
	want, sum = publish(datasets), 0
	for i, r := range relays[1:] {
		sum += originBytes(t, r) - read[i+1]
	}
	if sum != want { // also the second choice is the same for all
		t.Errorf("the two relays that are left read %d bytes more from the store; the new objects have %d", sum, want)
	}
}
