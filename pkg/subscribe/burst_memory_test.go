package subscribe_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/subscribe"
)

func init() { children["instance"] = instanceChild }

// sample is a report of an instance in its own process.
type sample struct {
	Version               uint64
	Resident, Heap, Table int64 // bytes, of the first two after a collection
	Held                  int64 // bytes that the Go runtime has and has not returned to the system
	Kept                  int   // versions
	KeptBytes             int64
	Goroutines            int
	Descriptors           int
	Refreshes, Full       int64 // that pulled
	Reads                 int64
	Errors                []string
}

// instanceChild is an instance with readers, which prints a sample for each line that it reads.
func instanceChild() error {
	var mu sync.Mutex
	var s sample // guarded by mu
	wrong := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		s.Errors = append(s.Errors, fmt.Sprintf(format, args...))
	}
	keep, err := strconv.Atoi(os.Getenv("KEEP_ROOTS"))
	if err == nil {
		err = withoutHugePages()
	}
	if err != nil {
		return err
	}
	cfg := subscribe.Config{
		NATS: os.Getenv("NATS"), Relays: []string{os.Getenv("RELAY")}, Datasets: []string{"prices"}, CacheDir: os.Getenv("CACHE_DIR"),
		Instance: "child", KeepRoots: keep, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	cfg.Observer.Swapped = func(r subscribe.Refresh) {
		mu.Lock()
		defer mu.Unlock()
		s.Refreshes++
		if r.Full {
			s.Full++
		}
	}
	cfg.Observer.Failed = func(f subscribe.Failure) { wrong("version %d: %v", f.Record.Version, f.Err) }
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	sub, err := subscribe.Open(ctx, cfg)
	if err != nil {
		return err
	}
	if err := sub.Wait(ctx); err != nil {
		return err
	}
	var reads atomic.Int64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for last := uint64(0); ctx.Err() == nil; <-tick.C {
				tab := handle(sub, "prices").Table()
				if err := checkGroup(tab); err != nil || tab.Version() < last {
					wrong("after version %d: version %d: %v", last, tab.Version(), err)
				}
				last = tab.Version()
				reads.Add(1)
			}
		})
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		u, err := ownUsage()
		if err != nil {
			return err
		}
		tab := handle(sub, "prices").Table()
		mu.Lock()
		s.Version, s.Table, s.Reads = tab.Version(), tab.Bytes(), reads.Load()
		if d, ok := sub.Status().Dataset("prices"); ok {
			s.Kept, s.KeptBytes = d.KeptVersions, d.KeptBytes
		}
		s.Resident, s.Held, s.Heap, s.Goroutines, s.Descriptors = u.resident, u.held, u.heap, u.goroutines, u.descriptors
		err = json.NewEncoder(os.Stdout).Encode(s)
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	stop()
	readers.Wait()
	return sub.Close()
}

// process is an instance in its own process.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// instance starts an instance, with the KeepRoots of its configuration.
func (w *workshop) instance(cache string, keep int) *process {
	w.t.Helper()
	p := &process{t: w.t, cmd: child(w.t, "instance", "NATS="+w.nats.URL, "RELAY="+w.relay.url, "CACHE_DIR="+cache, fmt.Sprint("KEEP_ROOTS=", keep))}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	p.out = json.NewDecoder(out)
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.in.Close()
		if err := p.cmd.Wait(); err != nil {
			w.t.Errorf("the instance ended with %v", err)
		}
	})
	return p
}

// sample requests a sample from the process.
func (p *process) sample() (s sample) {
	p.t.Helper()
	_, err := io.WriteString(p.in, "\n")
	if err == nil {
		err = p.out.Decode(&s)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range s.Errors {
		p.t.Error(e)
	}
	return s
}

// at waits until the process serves the version, and returns a sample.
func (p *process) at(version uint64) (s sample) {
	p.t.Helper()
	await(p.t, fmt.Sprint("version ", version), func() bool { s = p.sample(); return s.Version == version })
	return s
}

// burstRest is how many bytes more than before an instance may have after a burst, beside those for its table: of goroutines and buffers
// that deltas need, and of the refresh that is being written to the cache folder.
const burstRest = 4 << 20

// Invariant: after a burst of a thousand versions an instance has as much memory resident as before it, within a tenth of its table and
// burstRest, and what its kept versions may take, and not more goroutines and descriptors. Its readers saw nothing wrong.
//
// The instances have no huge pages. With them, resident memory also has what the kernel adds at a time of its own choice; the benchmark
// `scripts/bench delta -only undo` measures that.
func TestMemoryAfterABurst(t *testing.T) {
	records, versions := 500_000, uint64(1000)
	if testing.Short() {
		records, versions = 100_000, 200
	}
	w := newWorkshop(t, records)
	w.burst(1, pressing{})
	type instance struct {
		*process
		before  sample
		percent int64 // of its table, for kept versions
	}
	instances := []instance{{process: w.instance(t.TempDir(), -1)}, {process: w.instance(t.TempDir(), 0), percent: subscribe.DefaultKeepRoots}}
	for n := range instances {
		instances[n].before = instances[n].at(1)
	}
	w.burst(1+versions, pressing{}) // the chain grows to 256 deltas
	for _, i := range instances {
		t.Logf("keeps %d %%, before %+v", i.percent, i.before)
		t.Logf("keeps %d %%, after  %+v", i.percent, i.at(w.last.Version))
	}
	for _, i := range instances {
		// The memory of the last refreshes and of their writes to the cache folder is freed a moment later.
		var last, after sample
		await(t, "the resident memory to be what it was, within a tenth of the table, and no more goroutines and descriptors", func() bool {
			after = i.sample()
			kept := after.Table * i.percent / 100
			if after.Resident <= i.before.Resident+after.Table/10+burstRest+kept+raceBytes/4 && // of a thousand refreshes
				after.Goroutines <= i.before.Goroutines+6 && after.Descriptors <= i.before.Descriptors+4 &&
				after.KeptBytes <= kept && (after.Kept > 0) == (i.percent > 0) {
				return true
			}
			if after.Resident>>20 != last.Resident>>20 {
				t.Logf("keeps %d %%, after  %+v", i.percent, after)
				last = after
			}
			return false
		})
		t.Logf("keeps %d %%, now %+v", i.percent, after)
	}
}
