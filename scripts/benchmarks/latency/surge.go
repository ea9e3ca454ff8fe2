package latency

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/servertest/footprint"
	"freshet.dev/scripts/benchmarks/internal/openloop"
	"freshet.dev/scripts/benchmarks/internal/proc"
)

// surgeFactor is how many times the capacity of the CPU lane a surge offers.
const surgeFactor = 10

// surged are the results of a surge.
type surged struct {
	Where string
	// Capacity is how many scans a second one client gets, one after the other.
	Capacity float64
	Offered  offered
	// LongestQueue is in process the most scans that had been called and had not begun, with those that the lane was about to refuse. Over
	// HTTP it is the most that waited in the lane, as its metric says, or -1 without that metric.
	LongestQueue int64
	Lookups      openloop.Latencies
	// Idle are lookups before the surge.
	Idle   openloop.Latencies
	Memory memory
	// Other is an answer that is neither 200 nor a refusal.
	Other string
}

// memory are bytes of the process: resident before, the most during and after the surge, and the peak that the kernel counted.
type memory struct {
	Before, During, After int64
	PeakBefore, PeakAfter footprint.Peak
}

// laneQueue is the metric of the functions that wait for a lane.
const laneQueue = "freshet_lane_queued"

// sampleEvery is how often the memory and the queue of a process are read during a surge.
const sampleEvery = 100 * time.Millisecond

// watchMemory calls f and measures the memory of the process before, during and after it.
func watchMemory(ctx context.Context, pid int, peak func() (footprint.Peak, error), f func() error) (m memory, err error) {
	if m.Before, err = proc.ResidentOf(pid); err != nil {
		return m, err
	}
	if m.PeakBefore, err = peak(); err != nil {
		return m, err
	}
	during, stop := context.WithCancel(ctx)
	ended := make(chan int64, 1)
	go func() {
		var most int64
		for during.Err() == nil {
			if now, err := proc.ResidentOf(pid); err == nil {
				most = max(most, now)
			}
			pause(during, sampleEvery)
		}
		ended <- most
	}()
	err = f()
	stop()
	m.During = <-ended
	if err != nil {
		return m, err
	}
	if m.After, err = proc.ResidentOf(pid); err != nil {
		return m, err
	}
	m.PeakAfter, err = peak()
	return m, err
}

// calm is how long the capacity of an idle server is measured.
func (b *bench) calm() time.Duration { return min(b.window, 4*time.Second) }

// surgeInProcess lets the embedding service have a surge of scans.
func (b *bench) surgeInProcess(ctx context.Context, t inner) error {
	calm, err := t.measure(ctx, noScans)
	if err != nil {
		return err
	}
	var r embedResult
	mem, err := watchMemory(ctx, t.PID(), t.Peak, func() error {
		return t.Call(embedCommand{Do: "surge", Rate: b.rate, For: b.options.surge, Calm: b.calm()}, &r)
	})
	if err != nil {
		return err
	}
	r.Surge.Where, r.Surge.Idle, r.Surge.Memory = "in process, lane.Do", calm.lookups, mem
	b.surges = append(b.surges, r.Surge)
	return nil
}

// surgeOverHTTP lets freshet-server have a surge of scans.
func (b *bench) surgeOverHTTP(ctx context.Context, t *outer, meter *footprint.Meter) error {
	calm, err := t.measure(ctx, noScans)
	if err != nil {
		return err
	}
	r := surged{Where: "over HTTP, POST scan", Idle: calm.lookups, LongestQueue: -1}
	r.Capacity = capacity(ctx, b.calm(), t.scans.call)
	var queue atomic.Int64
	queue.Store(-1)
	watch, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for watch.Err() == nil {
			if n, ok := t.queued(watch); ok {
				queue.Store(max(queue.Load(), n))
			}
			pause(watch, sampleEvery)
		}
	}()
	r.Memory, err = watchMemory(ctx, t.PID(), meter.Peak, func() error {
		ended := make(chan offered, 1)
		go func() { ended <- offer(ctx, surgeFactor*r.Capacity, b.options.surge, t.scans.call) }()
		g := t.generator()
		g.Rate, g.For = t.rate, b.options.surge
		l, err := g.Start(ctx, "latency", "-part", "generate")
		r.Lookups, r.Offered = l.Latencies, <-ended
		return err
	})
	stop()
	<-watched
	r.LongestQueue, r.Other = queue.Load(), t.scans.first
	b.surges = append(b.surges, r)
	return err
}

// queued returns how many functions wait for the CPU lane, as the server's metrics say; ok is false if they do not.
func (t *outer) queued(ctx context.Context) (n int64, ok bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, laneQueue) || !strings.Contains(line, `lane="cpu"`) {
			continue
		}
		_, text, _ := strings.Cut(line, "} ")
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			n, ok = n+int64(v), true
		}
	}
	return n, ok
}
