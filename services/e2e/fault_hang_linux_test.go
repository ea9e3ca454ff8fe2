package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// eventBound bounds the time from the commit of a version of a healthy dataset until it is served while something else hangs. The bound
// is for the median of several events, because a busy machine delays some events without a fault.
const eventBound = time.Second

// events publishes several versions and fails the test unless they are served within eventBound. It adds the times to the table's row.
func (tr *trial) events() {
	tr.t.Helper()
	var took []time.Duration
	for range 7 {
		rec := tr.publish()
		tr.await("something hangs", func(d fleet.DatasetStatus) error {
			if err := serving(rec.Version)(d); err != nil {
				return err
			}
			took = append(took, d.Served.Sub(rec.Created))
			return nil
		})
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	tr.note = fmt.Sprintf("; from commit to served in the fault: median %d ms, worst %d ms", median.Milliseconds(), worst.Milliseconds())
	tr.t.Log(tr.note)
	if median > eventBound {
		tr.t.Errorf("versions were served after %s, want the median within %s", took, eventBound)
	}
}

// pipes replaces the files with named pipes. An open of a pipe blocks until release, which restores the files.
func pipes(t *testing.T, files ...string) (release func()) {
	t.Helper()
	for _, file := range files {
		err := os.Rename(file, file+".aside")
		if err == nil {
			err = syscall.Mkfifo(file, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, file := range files {
			pipe, err := os.OpenFile(file, os.O_RDWR|syscall.O_NONBLOCK, 0) // lets go of those that wait for a writer
			if err == nil {
				err = os.Rename(file+".aside", file)
				pipe.Close()
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// Invariant: a cache folder that hangs bars no version. The instance says so, ends when it is told to, and is served by the relay when it
// is started again. When the disk returns, the folder is used again.
func TestFaultCacheFolderHangs(t *testing.T) {
	tr := newTrial(t, "cache folder hangs", setting{})
	hit := tr.instances[0]
	tr.cached(tr.newest())
	tr.begin()
	began := time.Now()
	folder := filepath.Join(hit.cache, tr.name)
	release := pipes(t, filepath.Join(folder, "version.json"), filepath.Join(folder, "boot.json"))
	tr.events()
	tr.await("the cache folder hangs", func(d fleet.DatasetStatus) error {
		if !strings.Contains(d.Warning, "the cache folder hangs") {
			return fmt.Errorf("it does not say that the cache folder hangs: %q", d.Warning)
		}
		return fresh(tr.newest())(d)
	}, hit)
	ended := time.Now()
	hit.terminate()
	if d := time.Since(ended); d > 20*time.Second {
		t.Errorf("the instance took %s to end", d)
	}
	hit.start()
	tr.await("it was started again", fresh(tr.newest()), hit)
	tr.end()
	release()
	tr.healed()
	tr.never(began, fleet.Failing, fleet.Overdue)
	tr.cached(tr.newest())
	tr.await("there is nothing to warn of", func(d fleet.DatasetStatus) error {
		if strings.Contains(d.Warning, "cache folder") {
			return fmt.Errorf("it warns: %s", d.Warning)
		}
		return nil
	})
}

// Invariant: with one of two relays that takes requests and does not answer, versions are served by the other at once.
func TestFaultOneOfTwoRelaysHangs(t *testing.T) {
	var sys *system
	var second *program
	tr := newTrial(t, "one of two relays hangs", setting{
		before: func(s *system) { sys = s },
		instance: func(int) []string {
			if second == nil {
				second = start(t, "relay", sys.settings...)
			}
			return []string{"RELAYS=" + sys.Relay.URL + "," + second.URL}
		},
	})
	tr.begin()
	began := time.Now()
	second.Pause()
	tr.events()
	restarted := tr.instances[1]
	restarted.kill()
	restarted.start()
	tr.await("one was started again", fresh(tr.newest()), restarted)
	tr.end()
	second.Resume()
	tr.healed()
	tr.never(began, fleet.Overdue)
}

// Invariant: a dataset whose object hangs in the store holds up no other, neither at the relay nor at an instance.
func TestFaultStoreHangs(t *testing.T) { hangInStore(t, "an object hangs in the store", 1) }

// Invariant: the same with twice as many such datasets as an instance has lanes.
func TestFaultEightDatasetsHang(t *testing.T) {
	hangInStore(t, "objects of eight datasets hang in the store", 8)
}

func hangInStore(t *testing.T, fault string, n int) {
	store := t.TempDir()
	var bad []string
	for i := range n {
		bad = append(bad, fmt.Sprintf("bad%d", i))
	}
	tr := newTrial(t, fault, setting{store: "dir://" + store, instance: func(int) []string {
		return []string{"DATASETS=" + strings.Join(append(bad, "prices"), ",")}
	}})
	for _, name := range bad {
		tr.put(name, 1)
	}
	tr.awaitOf(bad, func(d fleet.DatasetStatus) error { return serving(1)(d) })

	// Each instance pulls that many objects at a time, and keeps the connections for reuse for a minute and a half.
	tr.room = usage{goroutines: 4 * n, files: 2 * n}

	tr.begin()
	tr.Relay.Pause() // until the objects hang, nothing is pulled
	var files []string
	for _, name := range bad {
		rec := tr.put(name, 2)
		for _, o := range append(slices.Clone(rec.Deltas), rec.Snapshot) {
			if o.Version == 2 {
				files = append(files, inStore(store, o.Digest))
			}
		}
	}
	release := pipes(t, files...)
	tr.Relay.Resume()
	tr.events()
	tr.awaitOf(bad, func(d fleet.DatasetStatus) error {
		if d.Version != 1 || d.Newest != 2 {
			return fmt.Errorf("it serves version %d of %s, and the newest is %d", d.Version, d.Dataset, d.Newest)
		}
		return nil
	})
	tr.end()
	release()
	tr.awaitOf(bad, func(d fleet.DatasetStatus) error { return fresh(2)(d) })
	tr.others = time.Since(tr.mended)
	tr.healed()
}

// put publishes a version of another dataset than the trial's.
func (tr *trial) put(name string, version int) (rec dataset.VersionRecord) {
	tr.t.Helper()
	var text strings.Builder
	for i := range 200 {
		v := 0
		if i < 20 {
			v = version
		}
		fmt.Fprintf(&text, `{"key":"%s-%d","v":%d}`+"\n", name, i, v)
	}
	status, _, body, err := do(tr.t.Context(), http.MethodPost, tr.Publisher.URL+"/v1/datasets/"+name+"/versions?key=key", "application/x-ndjson", []byte(text.String()))
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("%d %s", status, body)
	}
	if err == nil {
		status, _, body, err = do(tr.t.Context(), http.MethodGet, fmt.Sprintf("%s/v1/datasets/%s/versions/%d", tr.Publisher.URL, name, version), "", nil)
	}
	if err == nil {
		err = json.Unmarshal(body, &rec)
	}
	if err != nil || rec.Version != uint64(version) {
		tr.t.Fatalf("publish version %d of %s: %d %s %v", version, name, status, body, err)
	}
	return rec
}

// awaitOf waits until the datasets in all instances fulfil the condition.
func (tr *trial) awaitOf(names []string, want condition) {
	tr.t.Helper()
	for _, i := range tr.instances {
		for _, name := range names {
			eventuallyIn(tr.t, 3*time.Minute, func(ctx context.Context) error {
				d, err := (&subject{program: i.program, name: name}).status(ctx)
				if err == nil {
					err = want(d)
				}
				return err
			})
		}
	}
}
