package latency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/member"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/scripts/benchmarks/internal/control"
	"freshet.dev/scripts/benchmarks/internal/gomap"
	"freshet.dev/scripts/benchmarks/internal/openloop"
)

// embedConfig configures the process of a Go service that embeds package subscribe.
type embedConfig struct {
	NATS, Redis, Relay, CacheDir string
}

// scanKind is where the service runs the scans of a measurement.
type scanKind string

const (
	noScans scanKind = ""
	inLane  scanKind = "lane"
	// plain scans run on their callers' goroutines, as many as there are requests, and never yield.
	plain scanKind = "plain"
)

// embedCommand is a command to the service.
type embedCommand struct {
	Do          string // measure, surge or status
	Rate        float64
	WarmUp, For time.Duration
	Calm        time.Duration // how long the capacity before a surge is measured
	Scans       scanKind
	Requests    int
}

// embedResult is the result of a command.
type embedResult struct {
	Ticks     openloop.Ticks
	Scans     counts
	Surge     surged
	Refreshes fleet.Refreshes
}

// service is the process.
type service struct {
	dataset *subscribe.Dataset
	lanes   lane.Lanes
	price   *member.Paths
	keys    []string

	waiting, longest atomic.Int64 // calls of Do whose function has not begun; the most of them
	matched          atomic.Int64 // records, so that the compiler keeps the scans
}

// embedMain is the main function of the process. It obeys commands once the dataset is served.
func embedMain(ctx context.Context, cfg embedConfig, in io.Reader, out io.Writer) error {
	sub, err := subscribe.Open(ctx, subscribe.Config{
		NATS: cfg.NATS, Redis: cfg.Redis, Relays: []string{cfg.Relay}, Datasets: []string{name}, CacheDir: cfg.CacheDir, Instance: "embedding",
	})
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.Wait(ctx); err != nil {
		return err
	}
	d, err := sub.Dataset(name)
	if err != nil {
		return err
	}
	price, err := member.Parse("price")
	if err != nil {
		return err
	}
	s := &service{dataset: d, lanes: sub.Lanes(), price: price, keys: gomap.Keys(d.Table().Len())}
	return control.Serve(ctx, in, out, s.obey)
}

func (s *service) obey(ctx context.Context, c embedCommand) (any, error) {
	var r embedResult
	var err error
	switch c.Do {
	case "measure":
		r.Ticks, r.Scans, err = s.measure(ctx, c)
	case "surge":
		r.Surge, err = s.surge(ctx, c)
	case "status":
	default:
		err = fmt.Errorf("no command is called %q", c.Do)
	}
	r.Refreshes = s.dataset.Status().Refreshes
	return r, err
}

// measure times lookups during scans.
func (s *service) measure(ctx context.Context, c embedCommand) (t openloop.Ticks, n counts, err error) {
	scans, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan counts, 1)
	go func() {
		switch c.Scans {
		case inLane:
			ended <- saturate(scans, c.Requests, s.callInLane)
		case plain:
			ended <- saturate(scans, c.Requests, s.callPlain)
		default:
			ended <- counts{}
		}
	}()
	t, err = openloop.Tick(ctx, c.Rate, c.WarmUp, c.For, s.lookup)
	stop()
	return t, <-ended, err
}

func (s *service) lookup(n int64) bool {
	_, ok, err := s.dataset.Get(s.keys[n%int64(len(s.keys))])
	return ok && err == nil
}

// surge times lookups during ten times the scans that the lane can do.
func (s *service) surge(ctx context.Context, c embedCommand) (r surged, err error) {
	r.Capacity = capacity(ctx, c.Calm, s.callInLane)
	s.longest.Store(0)
	ended := make(chan offered, 1)
	go func() { ended <- offer(ctx, surgeFactor*r.Capacity, c.For, s.callInLane) }()
	t, err := openloop.Tick(ctx, c.Rate, 0, c.For, s.lookup)
	r.Lookups = t.FromTick
	r.Offered = <-ended
	r.LongestQueue = s.longest.Load()
	return r, err
}

// callInLane scans in the CPU lane.
func (s *service) callInLane(ctx context.Context) outcome {
	if now := s.waiting.Add(1); now > s.longest.Load() {
		s.longest.Store(now) // a lost update is one of two neighbouring values
	}
	began := false
	err := s.lanes.CPU.Do(ctx, func(ctx context.Context) error {
		began = true
		s.waiting.Add(-1)
		return s.scan(ctx, func() { lane.Yield(ctx) })
	})
	if !began {
		s.waiting.Add(-1)
	}
	return ending(ctx, err)
}

// callPlain scans on the caller's goroutine.
func (s *service) callPlain(ctx context.Context) outcome { return ending(ctx, s.scan(ctx, func() {})) }

func ending(ctx context.Context, err error) outcome {
	refusal := (*lane.ShedError)(nil)
	switch {
	case err == nil:
		return done
	case errors.As(err, &refusal) && refusal.RetryAfter > 0:
		return shed
	case errors.Is(err, lane.ErrShed):
		return unclear
	case ctx.Err() != nil:
		return stopped
	}
	return failed
}

// yieldEvery is the number of records between two calls of yield.
const yieldEvery = 100

// scan reads a member of every record of one version.
func (s *service) scan(ctx context.Context, yield func()) error {
	var values []member.Value
	n, matched := 0, int64(0)
	for _, value := range s.dataset.Table().All() {
		if n++; n%yieldEvery == 0 {
			yield()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		if values = s.price.Read(value, values[:0]); values[0].Float() > 995 {
			matched++
		}
	}
	s.matched.Add(matched)
	return nil
}

// embedded is the service as the parent sees it.
type embedded struct{ *control.Process }

func (b *bench) startEmbedded(ctx context.Context, redis, relay string) (embedded, error) {
	config, err := json.Marshal(embedConfig{NATS: b.system.NATS, Redis: redis, Relay: relay, CacheDir: b.system.TempDir()})
	if err != nil {
		return embedded{}, err
	}
	p, err := control.Start(ctx, nil, "latency", "-part", "embed", "-config", string(config))
	if err != nil {
		return embedded{}, err
	}
	var r embedResult
	if err := p.Call(embedCommand{Do: "status"}, &r); err != nil { // answered once the dataset is served
		return embedded{}, errors.Join(err, p.Stop())
	}
	return embedded{p}, nil
}
