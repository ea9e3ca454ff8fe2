package e2e

import (
	"fmt"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe"
)

// Invariant: however many instances pull from several relays, each object is read from the store once, by one of them;
// also when a relay is gone. A hedge, which an instance sends when a relay is slow, may have another relay read one object too.
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
	var largest int64
	publish := func(seed byte) (bytes int64) {
		var all []dataset.VersionRecord
		for i, name := range names {
			rec := s.publish(name, seed+byte(i), 100)
			all = append(all, rec)
			bytes += rec.Snapshot.Bytes
			largest = max(largest, rec.Snapshot.Bytes)
		}
		for _, sub := range subs {
			for _, rec := range all {
				awaitServed(t, sub, rec)
			}
		}
		return bytes
	}
	// hedged returns how many requests more than one of each instance for each object the relays got, of which got is the number before.
	// Each object is one segment.
	hedged := func(relays []*program, got int64) (more int64) {
		return requests(t, relays) - got - instances*datasets
	}
	want := publish(0)
	before := requests(t, relays[1:]) // counted before the bytes: what ends late belongs to the second part
	read := make([]int64, len(relays))
	var sum int64
	for i, r := range relays {
		read[i] = originBytes(t, r)
		sum += read[i]
	}
	twice := hedged(relays, 0) * largest
	for i, r := range relays {
		if read[i] == 0 || read[i] > want*2/3+twice {
			t.Errorf("%s read %d of the %d bytes of all objects", r.URL, read[i], want)
		}
	}
	if sum < want || sum > want+twice {
		t.Errorf("the relays read %d bytes from the store; the objects have %d, and hedges may read %d more", sum, want, twice)
	}

	relays[0].Kill()
	want, sum = publish(datasets), 0
	for i, r := range relays[1:] {
		sum += originBytes(t, r) - read[i+1]
	}
	twice = hedged(relays[1:], before) * largest
	if sum < want || sum > want+twice { // also the second choice is the same for all
		t.Errorf("the two relays that are left read %d bytes more from the store; the new objects have %d, and hedges may read %d more", sum, want, twice)
	}
}

// requests returns the number of segment requests to the relays.
func requests(t *testing.T, relays []*program) (n int64) {
	t.Helper()
	for _, r := range relays {
		for _, how := range []string{"hits", "shared_waits", "fills"} {
			n += counter(t, r, "freshet_relay_segment_"+how+"_total")
		}
	}
	return n
}
