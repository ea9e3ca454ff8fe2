package latency

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/scripts/benchmarks/internal/control"
	"freshet.dev/scripts/benchmarks/internal/gomap"
	"freshet.dev/scripts/benchmarks/internal/openloop"
)

// goMap is the service of package gomap. It reloads in the same call that measures lookups in process.
type goMap struct {
	*control.Process
	b    *bench
	addr string
}

func (b *bench) startGoMap(ctx context.Context) (goMap, error) {
	p, err := control.Start(ctx, nil, "latency", "-part", "gomap", "-config", b.rows)
	if err != nil {
		return goMap{}, err
	}
	var r gomap.Result
	if err := p.Call(gomap.Command{Do: "load"}, &r); err != nil {
		return goMap{}, errors.Join(err, p.Stop())
	}
	return goMap{p, b, r.Addr}, nil
}

// mapLoads are the loads of the Go map.
var mapLoads = []load{idle, {name: "reloads from JSON", reloads: true}}

// baselines measures the Go map, in its process and over HTTP.
func (b *bench) baselines(ctx context.Context) error {
	g, err := b.startGoMap(ctx)
	if err != nil {
		return fmt.Errorf("start the service of the Go map: %w", err)
	}
	inside, err := g.measureAll(ctx, g.inside)
	var outside []column
	rate := 0.0
	if err == nil {
		rate, err = b.halfLoad(ctx, g.generator())
	}
	if err == nil {
		outside, err = g.measureAll(ctx, func(ctx context.Context, l load) (measured, error) { return g.outside(ctx, l, rate) })
	}
	if err := errors.Join(err, g.Stop()); err != nil {
		return fmt.Errorf("the Go map: %w", err)
	}
	b.tables = append(b.tables,
		table{title: fmt.Sprintf("Baseline in process: a Go map of decoded structs, %.0f lookups a second", b.rate), columns: inside, inProcess: true},
		table{title: fmt.Sprintf("Baseline over HTTP: the same service, %.0f GET a second, half of what it answers when it is idle", rate), columns: outside})
	return nil
}

// measureAll measures the loads of the Go map in rounds.
func (g goMap) measureAll(ctx context.Context, measure func(context.Context, load) (measured, error)) ([]column, error) {
	columns := make([]column, len(mapLoads))
	for range g.b.rounds {
		for i, l := range mapLoads {
			m, err := withWaits(g.PID(), func() (measured, error) { return measure(ctx, l) })
			if err != nil {
				return nil, err
			}
			columns[i].load = l
			columns[i].add(m)
		}
	}
	return columns, nil
}

func (g goMap) inside(_ context.Context, l load) (measured, error) {
	var r gomap.Result
	err := g.Call(gomap.Command{Do: "measure", Rate: g.b.rate, WarmUp: warmUp, For: g.b.window, Reload: l.reloads}, &r)
	return measured{lookups: r.Ticks.FromTick, alone: r.Ticks.Alone, lost: r.Ticks.Lost, full: uint64(r.Reloads)}, err
}

func (g goMap) outside(ctx context.Context, l load, rate float64) (measured, error) {
	var r gomap.Result
	ended := make(chan error, 1)
	go func() {
		var err error
		if l.reloads {
			err = g.Call(gomap.Command{Do: "reload", For: warmUp + g.b.window}, &r)
		}
		ended <- err
	}()
	m, err := g.b.generate(ctx, g.generator(), rate)
	err = errors.Join(err, <-ended)
	m.full = uint64(r.Reloads)
	return m, err
}

func (g goMap) generator() openloop.Generator {
	return openloop.Generator{Addr: g.addr, Path: gomap.Path, Records: g.b.records, Connections: g.b.connections}
}
