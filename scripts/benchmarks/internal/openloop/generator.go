package openloop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// Generator gets records over HTTP. It runs in a child process.
type Generator struct {
	Addr string // of the server
	Path string // before the keys, such as /v1/datasets/bench/records/
	// Records is the number of rows. The lookups have random keys of these.
	Records     int
	Connections int
	// Rate is the number of lookups a second over all connections. 0 means as many as possible: each connection sends a lookup after the
	// answer to the one before.
	Rate float64
	// WarmUp is how long lookups are not counted, For how long they are after that.
	WarmUp, For time.Duration
}

// Lookups are the results of a [Generator].
type Lookups struct {
	Latencies Latencies
	// PerSecond is the rate of the answers that were counted.
	PerSecond float64
	// Statuses counts the answers by their HTTP status.
	Statuses map[int]int64
}

// differentKeys is the number of keys that a connection looks up in turn.
const differentKeys = 1 << 14

// Start runs the generator in a child process. The arguments are those with which this program calls [GeneratorMain].
func (g Generator) Start(ctx context.Context, args ...string) (l Lookups, err error) {
	text, err := json.Marshal(g)
	if err == nil {
		err = proc.Child(ctx, &l, append(args, "-config", string(text))...)
	}
	return l, err
}

// GeneratorMain is the main function of the process of a generator.
func GeneratorMain(ctx context.Context, config string, out io.Writer) error {
	var g Generator
	if err := json.Unmarshal([]byte(config), &g); err != nil {
		return err
	}
	l, err := g.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(l)
}

func (g Generator) run(ctx context.Context) (Lookups, error) {
	// Each connection has a thread, which must never wait for a processor of the Go runtime or for the collector.
	runtime.GOMAXPROCS(g.Connections + 2)
	debug.SetGCPercent(-1)
	start := time.Now().Add(100 * time.Millisecond)
	run := &schedule{pace: Pace{Start: start, Rate: g.Rate}, from: start.Add(g.WarmUp), end: start.Add(g.WarmUp + g.For)}
	parts := make([]Lookups, g.Connections)
	p := pool.New().WithContext(ctx).WithCancelOnError()
	for i := range parts {
		p.Go(func(ctx context.Context) (err error) {
			parts[i], err = g.connection(ctx, run, uint64(i))
			return err
		})
	}
	if err := p.Wait(); err != nil {
		return Lookups{}, fmt.Errorf("generate lookups: %w", err)
	}
	sum := Lookups{Latencies: NewLatencies(), Statuses: make(map[int]int64)}
	for _, part := range parts {
		sum.Latencies.Add(part.Latencies)
		for status, n := range part.Statuses {
			sum.Statuses[status] += n
		}
	}
	took := max(time.Since(run.from), g.For) // answers that come late take longer
	sum.PerSecond = float64(sum.Latencies.TotalCount()) / took.Seconds()
	return sum, nil
}

// schedule gives each lookup to the first connection that is free.
type schedule struct {
	pace      Pace
	from, end time.Time // of the lookups that count
	next      atomic.Int64
}

// take waits for the time of the next lookup and returns it; ok is false at the end.
func (s *schedule) take() (at time.Time, ok bool) {
	if s.pace.Rate == 0 {
		Until(s.pace.Start)
		at = time.Now()
		return at, at.Before(s.end)
	}
	at = s.pace.At(s.next.Add(1) - 1)
	if !at.Before(s.end) {
		return at, false
	}
	Until(at)
	return at, true
}

func (g Generator) connection(ctx context.Context, s *schedule, number uint64) (Lookups, error) {
	Pin()
	l := Lookups{Latencies: NewLatencies(), Statuses: make(map[int]int64)}
	keys := rows.Keys(rand.New(rand.NewPCG(number, 7)), differentKeys, 0, g.Records)
	requests := make([][]byte, len(keys))
	for i, key := range keys {
		requests[i] = fmt.Appendf(nil, "GET %s%s HTTP/1.1\r\nHost: %s\r\n\r\n", g.Path, key, g.Addr)
	}
	c, err := dial(ctx, g.Addr)
	if err != nil {
		return l, err
	}
	defer c.close()
	for i := 0; ctx.Err() == nil; i++ {
		at, ok := s.take()
		if !ok {
			return l, nil
		}
		status, err := c.get(requests[i%len(requests)])
		if err != nil {
			return l, err
		}
		if !at.Before(s.from) {
			l.Latencies.Record(time.Since(at))
			l.Statuses[status]++
		}
	}
	return l, context.Cause(ctx)
}
