package relay_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/relay"
)

// Invariant: bytes that reached the near relay damaged are served until a client sends no-cache; then both tiers read the
// object again, once for all clients that send it at about the same time.
func TestDamageIsReadAgainThroughBothTiers(t *testing.T) {
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
	expect("no-cache", want, "Cache-Control", "max-age=0, No-Cache")
	expect("after it", want)
	for range 20 {
		expect("no-cache again", want, "Cache-Control", "no-cache")
	}
	for name, x := range map[string]*running{"near": near, "far": far} {
		if n := x.metric(t, "origin_bytes_total"); n != 2*int64(len(want)) {
			t.Errorf("the %s relay read %d bytes for twice %d", name, n, len(want))
		}
	}
}

// Invariant: a client that received wrong bytes and retries gets an answer that says that they are damaged in the store, and where,
// with at most one read of the whole object a second. A healed object is served.
func TestDamageInTheStoreIsNamed(t *testing.T) {
	m := newMemory()
	d, want := m.add(objectBytes)
	wrong := bytes.Clone(want)
	wrong[700_000] ^= 1
	m.set(d, wrong)
	near, far := tiers(t, config(), relay.Deps{Store: m})
	path := "/v1/objects/" + d.String()
	for name, x := range map[string]*running{"near": near, "far": far} {
		if status, got, err := x.get(path); err != nil || status != 200 || !bytes.Equal(got, wrong) {
			t.Errorf("%s: %d with %d bytes, %v", name, status, len(got), err)
		}
	}
	for range 5 {
		for name, place := range map[*running]string{near: "at memory/" + d.String(), far: "at memory/" + d.String()} {
			status, text, err := name.get(path, "Cache-Control", "no-cache")
			var says struct{ Type, Detail string }
			if err == nil {
				err = json.Unmarshal(text, &says)
			}
			if err != nil || status != 502 || !strings.HasSuffix(says.Type, "/damaged-object") || !strings.Contains(says.Detail, "damaged in the store") ||
				!strings.Contains(says.Detail, "a publish of all records") || !strings.Contains(says.Detail, place) {
				t.Errorf("%d %s, %v", status, text, err)
			}
		}
	}
	if n := m.rechecks.Load(); n < 1 || n > 4 {
		t.Errorf("the object was read %d times for ten requests", n)
	}
	m.set(d, want)
	for name, x := range map[string]*running{"near": near, "far": far} {
		eventually(t, name+": the healed object", func() bool {
			status, got, err := x.get(path, "Cache-Control", "no-cache")
			return err == nil && status == 200 && bytes.Equal(got, want)
		})
	}
}

// Invariant: rechecks of objects are independent of each other.
func TestRechecksAreByObject(t *testing.T) {
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
		t.Errorf("%d bytes were read for %d: the first recheck found an empty cache, the later ones were too soon", n, bytesOfAll)
	}
}

// set replaces the bytes of an object.
func (m *memory) set(d dataset.Digest, content []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[d] = content
}
