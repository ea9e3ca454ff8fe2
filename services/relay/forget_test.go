package relay_test

import (
	"bytes"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/relay"
)

// Invariant: what reached the near relay damaged is given out until a client wants it anew; then both tiers read it
// again, however many clients want it anew at about the same time.
func TestDamageIsReadAnewThroughBothTiers(t *testing.T) {
	m := newMemory()
	d, want := m.add(objectBytes)
	wrong := bytes.Clone(want)
	wrong[700_000] ^= 1
	m.set(d, wrong)
	near, far := tiers(t, config(), relay.Deps{Store: m})
	expect := func(what string, content []byte, header ...string) {
		t.Helper()
		status, got, err := far.get("/v1/objects/"+d.String(), header...)
		if err != nil || status != 200 || !bytes.Equal(got, content) {
			t.Errorf("%s: %d with %d bytes, %v", what, status, len(got), err)
		}
	}
	expect("at first", wrong)
	m.set(d, want)
	expect("from the cache", wrong)
	expect("with another directive", wrong, "Cache-Control", "max-stale=3")
	expect("anew", want, "Cache-Control", "max-age=0, No-Cache")
	expect("after it", want)
	for range 20 {
		expect("anew once more", want, "Cache-Control", "no-cache")
	}
	for name, x := range map[string]*running{"near": near, "far": far} {
		if n := x.metric(t, "origin_bytes_total"); n != 2*int64(len(want)) {
			t.Errorf("the %s relay read %d bytes for twice %d", name, n, len(want))
		}
	}
}

// Invariant: objects are forgotten independently of each other.
func TestForgettingIsByObject(t *testing.T) {
	m := newMemory()
	x := run(t, config(), relay.Deps{Store: m})
	var all []dataset.Digest
	var bytesOfAll int64
	for i := range 3 {
		d, content := m.add(300_000 + i)
		all, bytesOfAll = append(all, d), bytesOfAll+int64(len(content))
	}
	for range 3 {
		for _, d := range all {
			if status, _, err := x.get("/v1/objects/"+d.String(), "Cache-Control", "no-cache"); err != nil || status != 200 {
				t.Errorf("%d, %v", status, err)
			}
		}
	}
	if n := x.metric(t, "origin_bytes_total"); n != bytesOfAll {
		t.Errorf("%d bytes were read for %d: the first time nothing was there to be forgotten, later it was too soon", n, bytesOfAll)
	}
}

// set puts other bytes in the place of an object's.
func (m *memory) set(d dataset.Digest, content []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[d] = content
}
