package latency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/scripts/benchmarks/internal/openloop"
	"freshet.dev/scripts/benchmarks/internal/runqueue"
)

// load is what an instance does while lookups are measured.
type load struct {
	name            string
	deltas, reloads bool
	scans           scanKind
}

// The loads. Those of an instance whose Redis and relay are slow are in slowLoads.
var (
	idle      = load{name: "idle"}
	scanning  = load{name: "scans", scans: inLane}
	laneless  = load{name: "scans without a lane", scans: plain}
	loads     = []load{idle, {name: "deltas of 1 %", deltas: true}, {name: "full reloads", reloads: true}, scanning}
	slowLoads = []load{{name: "all of these, Redis and relay slow", deltas: true, reloads: true, scans: inLane}}
)

// target is an instance.
type target interface {
	PID() int
	// measure times lookups for warmUp and the window, during scans.
	measure(ctx context.Context, scans scanKind) (measured, error)
	// refreshes returns how many the instance has done.
	refreshes(ctx context.Context) (fleet.Refreshes, error)
}

// measured are the results of one measurement, or those of several added up.
type measured struct {
	lookups openloop.Latencies
	// alone are the times of lookups in process without the wait for a processor; empty over HTTP.
	alone openloop.Latencies
	// lost are lookups without a record, and answers other than 200.
	lost          int64
	calls         counts // of the scans
	seconds       float64
	byDelta, full uint64        // refreshes
	wait          time.Duration // of the instance's threads for a processor
	pressure      time.Duration // in which a thread of the machine waited
	pressureKnown bool
}

func (m *measured) add(o measured) {
	if m.lookups.Histogram == nil {
		m.lookups, m.alone = openloop.NewLatencies(), openloop.NewLatencies()
	}
	m.lookups.Add(o.lookups)
	m.alone.Add(o.alone)
	m.lost += o.lost
	m.calls = m.calls.plus(o.calls)
	m.seconds += o.seconds
	m.byDelta += o.byDelta
	m.full += o.full
	m.wait += o.wait
	m.pressure += o.pressure
	m.pressureKnown = o.pressureKnown
}

// column is a load with its results.
type column struct {
	load
	measured
}

// measureAll measures the loads in rounds.
func (b *bench) measureAll(ctx context.Context, on target, loads []load) ([]column, error) {
	columns := make([]column, len(loads))
	for range b.rounds {
		for i, l := range loads {
			m, err := b.measureOne(ctx, on, l)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.name, err)
			}
			columns[i].load = l
			columns[i].add(m)
		}
	}
	return columns, nil
}

// measureOne measures lookups during the load.
func (b *bench) measureOne(ctx context.Context, on target, l load) (measured, error) {
	stop := b.forward(ctx, l)
	m, err := withRefreshes(ctx, on, func() (measured, error) {
		return withWaits(on.PID(), func() (measured, error) { return on.measure(ctx, l.scans) })
	})
	return m, errors.Join(err, stop())
}

// withRefreshes calls measure and adds the refreshes of the instance during it.
func withRefreshes(ctx context.Context, on target, measure func() (measured, error)) (measured, error) {
	before, err := on.refreshes(ctx)
	if err != nil {
		return measured{}, err
	}
	m, err := measure()
	if err != nil {
		return measured{}, err
	}
	after, err := on.refreshes(ctx)
	m.byDelta, m.full = after.Delta-before.Delta, after.Full-before.Full
	return m, err
}

// withWaits calls measure and adds its time, and the waits of the process and of the machine for a processor during it.
func withWaits(pid int, measure func() (measured, error)) (measured, error) {
	start := time.Now()
	waited, err := runqueue.Wait(pid)
	if err != nil {
		return measured{}, err
	}
	pressed, _ := runqueue.Machine()
	m, err := measure()
	if err != nil {
		return measured{}, err
	}
	m.seconds = time.Since(start).Seconds()
	after, err := runqueue.Wait(pid)
	m.wait = after - waited
	m.pressure, m.pressureKnown = runqueue.Machine()
	m.pressure -= pressed
	return m, err
}

// deltasAReload is the number of deltas between two full reloads of a load that has both.
const deltasAReload = 10

// forward has the instance refresh all the time, until the caller calls stop.
func (b *bench) forward(ctx context.Context, l load) (stop func() error) {
	var next []func(context.Context) error
	if l.deltas {
		for range deltasAReload {
			next = append(next, b.feeder.Delta)
		}
	}
	if l.reloads {
		next = append(next, b.feeder.Full)
	}
	if len(next) == 0 {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := b.feeder.Forward(ctx, next...)
		ended <- err
	}()
	return func() error { cancel(); return <-ended }
}
