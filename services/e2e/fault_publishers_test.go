package e2e

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// edit is the change of one of several publishers that became the version.
type edit struct {
	version uint64
	patch   map[string]string // values by key; "" removes
	all     map[string]string // or all records
}

// Invariant: of two publisher services that publish and patch at once, 1,000 versions in all, each version is made by one of them, none
// is lost or given twice, none has anything of an edit that another overtook half-way, and every instance ends at the last.
func TestFaultTwoPublishersAtOnce(t *testing.T) {
	versions := 1000
	if testing.Short() {
		versions = 100
	}
	tr := newTrial(t, fmt.Sprintf("two publishers at once for %d versions", versions), setting{})
	second := start(t, "publisher", append(tr.settings, "TEMP_DIR="+t.TempDir(), "BEACON_EVERY="+beaconEvery.String())...)
	tr.begin()
	var mu sync.Mutex
	var edits []edit
	var conflicts int
	var running sync.WaitGroup
	for n, publisher := range []*program{tr.Publisher, second} {
		running.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 9))
			for range versions / 2 {
				e := drawEdit(r, tr.ledger.keys)
				for e.version == 0 {
					version, err := e.publish(t.Context(), publisher, tr.name)
					if err != nil {
						t.Errorf("publish: %v", err)
						return
					}
					e.version = version
					mu.Lock()
					if version == 0 {
						conflicts++
					} else {
						edits = append(edits, e)
						tr.exists(version)
					}
					mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.version, b.version) })
	for _, e := range edits {
		if e.version != tr.newest()+1 {
			t.Fatalf("what follows version %d is version %d", tr.newest(), e.version)
		}
		tr.history = append(tr.history, e.apply(tr.history[len(tr.history)-1]))
	}
	t.Logf("%d versions in %v, %d times one was told to come again", len(edits), time.Since(tr.began), conflicts)
	tr.healed()
}

// drawEdit returns a random edit: mostly a patch, sometimes all records. It always changes a record.
func drawEdit(r *rand.Rand, keys int) edit {
	key := func() string { return fmt.Sprintf("key-%d", r.IntN(keys)) }
	line := func(key string) string { return fmt.Sprintf(`{"key":%q,"a":"%x%x"}`, key, r.Uint64(), r.Uint64()) }
	if r.IntN(20) == 0 {
		all := map[string]string{}
		for range keys / 2 {
			k := key()
			all[k] = line(k)
		}
		return edit{all: all}
	}
	patch := map[string]string{}
	for n := range 6 {
		k := key()
		patch[k] = line(k)
		if n > 0 && r.IntN(4) == 0 {
			patch[k] = ""
		}
	}
	k := key()
	patch[k] = line(k)
	return edit{patch: patch}
}

// publish publishes the edit and returns its version, 0 if the publisher asked for a retry.
func (e edit) publish(ctx context.Context, publisher *program, name string) (uint64, error) {
	method, path, text := http.MethodPost, "/versions", lines(e.all)
	if e.patch != nil {
		method, path = http.MethodPatch, ""
		var all []string
		for key, line := range e.patch {
			if line == "" {
				line = fmt.Sprintf(`{"key":%q,"$remove":true}`, key)
			}
			all = append(all, line)
		}
		text = strings.Join(all, "\n")
	}
	status, header, body, err := do(ctx, method, publisher.URL+"/v1/datasets/"+name+path+"?key=key&allow_shrink=true&reason=edit", "application/x-ndjson", []byte(text))
	if err != nil || status == http.StatusConflict {
		return 0, err
	}
	location := header.Get("Location")
	var version uint64
	if _, err := fmt.Sscanf(location[strings.LastIndex(location, "/")+1:], "%d", &version); err != nil || status != http.StatusCreated {
		return 0, fmt.Errorf("%d %s, Location %q: %v", status, body, location, err)
	}
	return version, nil
}

// apply returns the records after the edit.
func (e edit) apply(records map[string]string) map[string]string {
	if e.all != nil {
		return e.all
	}
	next := maps.Clone(records)
	for key, line := range e.patch {
		if line == "" {
			delete(next, key)
		} else {
			next[key] = line
		}
	}
	return next
}
