package latency

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/fleet"
)

// inner measures lookups in the process of the embedding service.
type inner struct {
	embedded
	b *bench
}

func (t inner) measure(_ context.Context, scans scanKind) (measured, error) {
	var r embedResult
	err := t.Call(embedCommand{
		Do: "measure", Rate: t.b.rate, WarmUp: warmUp, For: t.b.window, Scans: scans, Requests: t.b.requests,
	}, &r)
	return measured{lookups: r.Ticks.FromTick, alone: r.Ticks.Alone, lost: r.Ticks.Lost, calls: r.Scans}, err
}

func (t inner) refreshes(context.Context) (fleet.Refreshes, error) {
	var r embedResult
	err := t.Call(embedCommand{Do: "status"}, &r)
	return r.Refreshes, err
}

// inProcess measures the embedding service.
func (b *bench) inProcess(ctx context.Context) error {
	p, err := b.startEmbedded(ctx, b.system.Redis, b.system.Relay)
	if err != nil {
		return fmt.Errorf("start the embedding service: %w", err)
	}
	on := inner{p, b}
	columns, err := b.measureAll(ctx, on, append(loads[:len(loads):len(loads)], laneless))
	if err == nil && b.options.surge > 0 {
		err = b.surgeInProcess(ctx, on)
	}
	if err := errors.Join(err, p.Stop()); err != nil {
		return fmt.Errorf("in process: %w", err)
	}
	slow, err := b.inProcessSlow(ctx)
	if err != nil {
		return fmt.Errorf("in process, behind proxies: %w", err)
	}
	b.tables = append(b.tables, table{
		title:   fmt.Sprintf("In process: Dataset.Get, %.0f a second", b.rate),
		columns: append(columns, slow...), instance: true, inProcess: true,
	})
	return nil
}

func (b *bench) inProcessSlow(ctx context.Context) ([]column, error) {
	return b.slowly(func(redis, relay string) ([]column, error) {
		p, err := b.startEmbedded(ctx, redis, relay)
		if err != nil {
			return nil, err
		}
		columns, err := b.measureAll(ctx, inner{p, b}, slowLoads)
		return columns, errors.Join(err, p.Stop())
	})
}
