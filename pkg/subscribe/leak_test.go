package subscribe_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe"
)

// memoryRelay answers from memory: a store on disk would take most of the test's time.
type memoryRelay map[string][]byte // by digest; not changed while it answers

func (m memoryRelay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	object, ok := m[strings.TrimPrefix(q.URL.Path, "/v1/objects/")]
	if !ok {
		http.NotFound(w, q)
		return
	}
	w.Write(object)
}

// usage has the resources that a leak would make grow.
type usage struct {
	goroutines, descriptors int
	heap, resident          int64 // bytes; resident is without what is read from files, such as the program
	held                    int64 // bytes that the Go runtime has and has not returned to the system
}

func measure(t *testing.T) usage {
	t.Helper()
	u, err := ownUsage()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// ownUsage returns the usage of this process, after a collection.
func ownUsage() (usage, error) {
	debug.FreeOSMemory() // collects first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{goroutines: runtime.NumGoroutine(), heap: int64(m.HeapAlloc), held: int64(m.Sys - m.HeapReleased)}
	if runtime.GOOS != "linux" {
		return u, nil
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return u, err
	}
	_, line, _ := strings.Cut(string(status), "RssAnon:") // without the program's file
	if _, err := fmt.Sscan(line, &u.resident); err != nil {
		return u, fmt.Errorf("no RssAnon in /proc/self/status: %w", err)
	}
	u.resident <<= 10
	descriptors, err := os.ReadDir("/proc/self/fd")
	u.descriptors = len(descriptors)
	return u, err
}

// Invariant: ten thousand refreshes leave no more resources in use than two thousand.
// Every version passes all stages: event log, event, pull over HTTP, verification, swap, callback, report, cache
// folder.
func TestRefreshesLeaveNothingBehind(t *testing.T) {
	const (
		datasets = 8
		cached   = 2 // of them with a cache folder
		variants = 16
	)
	// Pools, buffers and idle connections have their final size after warm refreshes.
	total, warm := uint64(10_000), uint64(2_000)
	if testing.Short() {
		total, warm = 1_600, 800
	}
	w := newWorld(t)
	relay := make(memoryRelay)
	var contents [variants]snapshot.Totals // the contents of the versions, used in a cycle
	for i := range contents {
		object, totals := build(t, numbered(uint64(i)))
		contents[i], relay[totals.Digest.String()] = totals, object
	}
	server := httptest.NewServer(relay)
	defer server.Close()

	// Two subscribers share the work, because syncing files is most of it for the one with a cache folder.
	var names []string
	cache := t.TempDir()
	swapped := make(chan subscribe.Swap, datasets)
	for i, dir := range []string{cache, ""} {
		var part []string
		for j := range []int{cached, datasets - cached}[i] {
			part = append(part, fmt.Sprintf("d%d-%d", i, j))
		}
		names = append(names, part...)
		cfg := w.config(part...)
		cfg.Relays, cfg.Lanes, cfg.CacheDir = []string{server.URL}, len(part), dir
		cfg.Observer.Failed = func(f subscribe.Failure) { t.Errorf("%s failed: %v", f.Record.ID(), f.Err) }
		cfg.Observer.CacheFailed = func(f subscribe.CacheFailure) { t.Errorf("the cache of %s failed: %v", f.Dataset, f.Err) }
		s := open(t, cfg)
		for _, name := range part {
			if _, err := handle(s, name).OnSwap(func(swap subscribe.Swap) { swapped <- swap }); err != nil {
				t.Fatal(err)
			}
		}
	}

	publish := func(name string, version uint64) {
		totals := contents[version%variants]
		w.announce(dataset.VersionRecord{
			Dataset: name, Version: version, Seed: seed, State: totals.State, PayloadBytes: totals.PayloadBytes,
			Snapshot: dataset.Object{Version: version, Digest: totals.Digest, Bytes: totals.FileBytes}, Created: time.Now(), Source: "test",
		})
	}
	var before usage
	began := time.Now()
	for version := uint64(1); version <= total/datasets; version++ {
		for _, name := range names {
			publish(name, version)
		}
		for range names {
			// No version is skipped: the next one is published only when each dataset has been called back with
			// this one.
			if swap := <-swapped; swap.Record.Version != version || swap.New.Len() != 20 {
				t.Fatalf("%s: version %d with %d records was swapped in, want version %d", swap.Dataset, swap.Record.Version, swap.New.Len(), version)
			}
		}
		if version == warm/datasets {
			before = measure(t)
		}
	}
	await(t, "the last refreshes to end", func() bool { return len(files(t, cache)) == 2*cached })
	after := measure(t)
	t.Logf("%d refreshes in %s; after %d: %+v; after all: %+v", total, time.Since(began).Round(time.Second), warm, before, after)

	// Each lane may have one more connection than before, with three goroutines and two descriptors at its ends.
	if after.goroutines > before.goroutines+3*datasets {
		t.Errorf("goroutines grew from %d to %d", before.goroutines, after.goroutines)
	}
	if after.descriptors > before.descriptors+2*datasets {
		t.Errorf("file descriptors grew from %d to %d", before.descriptors, after.descriptors)
	}
	if grown := after.heap - before.heap; grown > 1<<20 { // 130 bytes a refresh
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if grown := after.resident - before.resident; grown > 8<<20+raceBytes {
		t.Errorf("resident memory grew by %d bytes", grown)
	}
}
