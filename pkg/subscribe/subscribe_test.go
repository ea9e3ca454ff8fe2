package subscribe_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

func TestFirstVersionIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.publish("prices", 1)
	s := open(t, w.config("prices", "rules"))
	if err := handle(s, "prices").Wait(w.context()); err != nil {
		t.Fatal(err)
	}
	awaitVersion(t, s, "prices", 1)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := s.Wait(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "rules (no version is known yet)") || strings.Contains(err.Error(), "prices") {
		t.Errorf("Wait says %v; want it to name rules alone", err)
	}
	if d := statusOf(t, s, "rules"); d.State != fleet.Waiting || d.Error != "" || d.Version != 0 || handle(s, "rules").Table() != nil {
		t.Errorf("a dataset without a version has the status %+v", d)
	}
	if _, ok := handle(s, "rules").Version(); ok {
		t.Error("a dataset without a version has a version record")
	}
	done := make(chan error)
	go func() { done <- s.Wait(w.context()) }()
	w.publish("rules", 1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	awaitVersion(t, s, "rules", 1)
	if d := statusOf(t, s, "rules"); d.State != fleet.Fresh || d.From != fleet.Relay || d.Records != 20 || d.LastPull.Bytes == 0 {
		t.Errorf("the status is %+v", d)
	}
	if rec, ok := handle(s, "rules").Version(); !ok || rec.ID() != "rules/1" {
		t.Errorf("Version says %s, %v", rec.ID(), ok)
	}
}

func TestVersionsInOrder(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	swaps := make(chan subscribe.Swap, 10)
	if _, err := handle(s, "prices").OnSwap(func(swap subscribe.Swap) { swaps <- swap }); err != nil {
		t.Fatal(err)
	}
	var before subscribe.Swap
	for v := range uint64(3) {
		w.publish("prices", v+1)
		awaitVersion(t, s, "prices", v+1)
		swap := <-swaps
		if swap.Dataset != "prices" || swap.Record.Version != v+1 || swap.New.Version() != v+1 || swap.Old != before.New || !swap.Full {
			t.Fatalf("after %+v came %+v", before, swap)
		}
		before = swap
	}
	// A late callback is called for the version that is served.
	late := make(chan subscribe.Swap, 10)
	if _, err := handle(s, "prices").OnSwap(func(swap subscribe.Swap) { late <- swap }); err != nil {
		t.Fatal(err)
	}
	if swap := <-late; swap.Old != nil || swap.New.Version() != 3 {
		t.Errorf("a late callback was first told %+v", swap)
	}
}

func TestOldVersionStaysUsable(t *testing.T) {
	w := newWorld(t)
	w.publish("prices", 1)
	s := open(t, w.config("prices"))
	awaitVersion(t, s, "prices", 1)
	held := handle(s, "prices").Table()
	w.publish("prices", 2)
	awaitVersion(t, s, "prices", 2)
	if versionOf(t, held) != 1 {
		t.Error("a held table changed")
	}
}

// Invariants: every table that a reader gets is one whole version, and no reader ever sees an older one after a newer.
func TestReadersSeeWholeVersionsInOrder(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	const last = 30
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for seen := uint64(0); seen < last && !t.Failed(); {
				v := versionOf(t, handle(s, "prices").Table())
				if v < seen {
					t.Errorf("version %d was seen after version %d", v, seen)
				}
				seen = v
			}
		})
	}
	for v := uint64(2); v <= last; v++ {
		w.publish("prices", v)
	}
	awaitVersion(t, s, "prices", last)
	readers.Wait()
}

func TestBurstCollapses(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	began, gate := make(chan struct{}, 100), make(chan struct{})
	w.relay.fail(func(http.ResponseWriter, *http.Request) bool { began <- struct{}{}; <-gate; return false })
	w.publish("prices", 1)
	<-began
	const last = 40
	for v := uint64(2); v <= last; v++ {
		w.publish("prices", v)
	}
	close(gate)
	awaitVersion(t, s, "prices", last)
	// One for the first version, one for the newest version after it, and one more if the last event arrived late.
	if n := w.relay.objects.Load(); n > 4 {
		t.Errorf("%d pulls for a burst of %d versions", n, last)
	}
}

func TestReportsAndSurvey(t *testing.T) {
	w := newWorld(t)
	reports, err := fleet.WatchReports(t.Context(), w.nc, "", "prices")
	if err != nil {
		t.Fatal(err)
	}
	defer reports.Close()
	s := open(t, w.config("prices"))
	rec := w.publish("prices", 1)
	next := func(kind fleet.Kind) (fleet.Report, error) {
		for {
			if r, err := reports.Next(w.context()); err != nil || r.Kind == kind {
				return r, err
			}
		}
	}
	r, err := next(fleet.OfSwap)
	if err != nil || r.Instance != "i1" || r.PID != os.Getpid() || r.Version != 1 || r.Error != "" || r.PulledBytes != rec.Snapshot.Bytes || !r.Created.Equal(rec.Created) ||
		r.Served.IsZero() || r.Duration <= 0 {
		t.Errorf("the first report is %+v, %v", r, err)
	}
	w.relay.fail(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true })
	w.publish("prices", 2)
	r, err = next(fleet.OfFailure)
	if err != nil || r.Version != 2 || !strings.Contains(r.Error, "500 Internal Server Error") {
		t.Errorf("the report of a failure is %+v, %v", r, err)
	}
	await(t, "the status to say failing", func() bool { return statusOf(t, s, "prices").State == fleet.Failing })
	all, err := fleet.Survey(w.context(), w.nc, fleet.SurveyOptions{})
	if err != nil || len(all) != 1 || all[0].Instance != "i1" || all[0].Host != r.Host || all[0].PID != r.PID {
		t.Fatalf("the survey says %+v, %v", all, err)
	}
	if d, _ := all[0].Dataset("prices"); d.Version != 1 || d.State != fleet.Failing || !strings.Contains(d.Error, "500") || d.Since.IsZero() {
		t.Errorf("the survey says %+v", d)
	}
	w.relay.fail(nil)
	if err := fleet.WaitServed(w.context(), w.nc, fleet.Wait{Dataset: "prices", Version: dataset.Ref{Version: 2}}); err != nil {
		t.Error(err)
	}
	if d := statusOf(t, s, "prices"); d.State != fleet.Fresh || d.Error != "" {
		t.Errorf("after the failure the status is %+v", d)
	}
}

func TestObserver(t *testing.T) {
	w := newWorld(t)
	var swapped, failed, caughtUp atomic.Int64
	cfg := w.config("prices")
	book := &logbook{}
	cfg.Log = book.logger()
	cfg.Observer = subscribe.Observer{
		Swapped: func(r subscribe.Refresh) {
			if r.Records != 20 || r.From != fleet.Relay || r.PulledBytes == 0 || r.Bytes == 0 {
				t.Errorf("the Observer receives %+v", r)
			}
			swapped.Add(1)
			panic("in the Observer")
		},
		Failed:   func(subscribe.Failure) { failed.Add(1) },
		CaughtUp: func(subscribe.CatchUp) { caughtUp.Add(1) },
	}
	s := open(t, cfg)
	for v := range uint64(2) {
		w.publish("prices", v+1)
		awaitVersion(t, s, "prices", v+1)
	}
	w.relay.stop()
	w.publish("prices", 3)
	await(t, "a failure", func() bool { return failed.Load() > 0 })
	await(t, "two swaps", func() bool { return swapped.Load() == 2 && caughtUp.Load() > 0 })
	if !book.has("a function of the Observer panicked") {
		t.Error("the Observer's panic was not logged")
	}
}

func TestCloseDuringAPull(t *testing.T) {
	w := newWorld(t)
	ignore := goleak.IgnoreCurrent()
	began := make(chan struct{}, 1)
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/objects/") {
			return false
		}
		rw.Header().Set("Content-Length", "1000000")
		rw.Write([]byte("x"))
		http.NewResponseController(rw).Flush()
		began <- struct{}{}
		<-q.Context().Done()
		return true
	})
	cfg := w.config("prices", "rules")
	cfg.CacheDir = t.TempDir()
	s := open(t, cfg)
	waiting := make(chan error)
	go func() { waiting <- handle(s, "rules").Wait(context.Background()) }()
	rec := w.commit("prices", 1, numbered(1))
	rec.Snapshot.Bytes = 1000000
	w.announce(rec)
	<-began
	for range 2 { // it may be closed twice
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-waiting; !errors.Is(err, subscribe.ErrClosed) {
		t.Errorf("Wait says %v, want ErrClosed", err)
	}
	if _, err := handle(s, "prices").OnSwap(func(subscribe.Swap) {}); !errors.Is(err, subscribe.ErrClosed) {
		t.Errorf("OnSwap says %v, want ErrClosed", err)
	}
	if left := files(t, cfg.CacheDir); len(left) != 0 {
		t.Errorf("the cancelled pull left %q", left)
	}
	w.relay.stop()
	goleak.VerifyNone(t, ignore)
}

func TestOpenNamesTheField(t *testing.T) {
	good := subscribe.Config{NATS: "nats://127.0.0.1:1", Relays: []string{"http://127.0.0.1:1"}, Datasets: []string{"prices"}}
	for want, change := range map[string]func(*subscribe.Config){
		"NATS is empty":                                  func(c *subscribe.Config) { c.NATS = " " },
		"NATS has the scheme":                            func(c *subscribe.Config) { c.NATS = "http://user:secret@host" },
		"NATS has no URL as server 2":                    func(c *subscribe.Config) { c.NATS = "host:4222, nats://user:secret@%zz" },
		"if server 1 has no user, add its port":          func(c *subscribe.Config) { c.NATS = "host, nats://user:secret@host" },
		"Relays is empty":                                func(c *subscribe.Config) { c.Relays = nil },
		"Relays[0] has the scheme":                       func(c *subscribe.Config) { c.Relays = []string{"localhost:80"} },
		"Datasets is empty":                              func(c *subscribe.Config) { c.Datasets = nil },
		"Datasets[1]: not a dataset":                     func(c *subscribe.Config) { c.Datasets = []string{"a", "A"} },
		"Datasets[1]: a is named":                        func(c *subscribe.Config) { c.Datasets = []string{"a", "a"} },
		"Lanes must not":                                 func(c *subscribe.Config) { c.Lanes = -1 },
		"Workers must not":                               func(c *subscribe.Config) { c.Workers = -1 },
		"StallTimeout must not":                          func(c *subscribe.Config) { c.StallTimeout = -1 },
		"RetryInitial must not":                          func(c *subscribe.Config) { c.RetryInitial = -1 },
		"RetryMax must not":                              func(c *subscribe.Config) { c.RetryMax = -1 },
		"RetryMax is 1s, below RetryInitial":             func(c *subscribe.Config) { c.RetryInitial, c.RetryMax = time.Minute, time.Second },
		"Namespace (FRESHET_NAMESPACE): not a namespace": func(c *subscribe.Config) { c.Namespace = "a.b" },
		"NATSConn is set together":                       func(c *subscribe.Config) { c.NATSConn = new(nats.Conn) },
		"Stream":                                         func(c *subscribe.Config) { c.Stream = "no.such name" },
		"Labels (FRESHET_LABELS): unusable labels":       func(c *subscribe.Config) { c.Labels = map[string]string{"Tier": "canary"} },
		"ConfirmAfter must not":                          func(c *subscribe.Config) { c.ConfirmAfter = -1 },
		"Bounds.MaxBytes must not be negative":           func(c *subscribe.Config) { c.Bounds.MaxBytes = -1 },
		"Bounds.MaxTotalBytes must not be negative":      func(c *subscribe.Config) { c.Bounds.MaxTotalBytes = -1 },
		"Bounds.MinMemoryLeft must not be negative":      func(c *subscribe.Config) { c.Bounds.MinMemoryLeft = -1 },
	} {
		cfg := good
		change(&cfg)
		s, err := subscribe.Open(t.Context(), cfg)
		if !errors.Is(err, subscribe.ErrConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want ErrConfig with %q", err, want)
		}
		if s != nil {
			s.Close()
		}
	}
	cfg := good
	cfg.RetryMax = time.Millisecond // below the default of RetryInitial
	open(t, cfg)
}
