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
	cfg := subscribe.Config{
		NATS: os.Getenv("NATS"), Relays: []string{os.Getenv("RELAY")}, Datasets: []string{"prices"}, CacheDir: os.Getenv("CACHE_DIR"),
		Instance: "child", Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
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
		s.Resident, s.Heap, s.Goroutines, s.Descriptors = u.resident, u.heap, u.goroutines, u.descriptors
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

func (w *workshop) instance(cache string) *process {
	w.t.Helper()
	p := &process{t: w.t, cmd: child(w.t, "instance", "NATS="+w.nats.URL, "RELAY="+w.relay.url, "CACHE_DIR="+cache)}
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

// Invariant: after a burst of a thousand versions an instance has as much memory resident as before it, within a tenth,
// and not more goroutines and descriptors. Its readers saw nothing wrong.
func TestMemoryAfterABurst(t *testing.T) {
	records, versions := 500_000, uint64(1000)
	if testing.Short() {
		records, versions = 100_000, 200
	}
	w := newWorkshop(t, records)
	w.burst(1, pressing{})
	p := w.instance(t.TempDir())
	before := p.at(1)
	w.burst(1+versions, pressing{}) // the chain grows to 256 deltas
	after := p.at(w.last.Version)
	t.Logf("before %+v", before)
	t.Logf("after  %+v", after)
	// The memory of the last refreshes and of their writes to the cache folder is freed a moment later.
	await(t, "the resident memory to be what it was, within a tenth, and no more goroutines and descriptors", func() bool {
		after = p.sample()
		if after.Resident <= before.Resident*11/10+raceBytes/4 && // of a thousand refreshes
			after.Goroutines <= before.Goroutines+6 && after.Descriptors <= before.Descriptors+4 {
			return true
		}
		t.Logf("after  %+v", after)
		return false
	})
}
