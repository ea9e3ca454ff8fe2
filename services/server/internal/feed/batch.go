package feed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unsafe"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe"
)

// pulseRecords is how many records are compared between two looks at the time.
const pulseRecords = 64

// errBehind is returned when a reader takes too long for a version.
var errBehind = errors.New("the reader is too far behind")

// batch is what brings the reader to a version.
type batch struct {
	swap    subscribe.Swap
	from    *dataset.Ref // nil if the reader has no version
	reset   *reset       // nil if the reader keeps what it has
	records bool

	changes dataset.Changes // that were encoded
	stale   time.Time       // when a table of swap was first seen to be served no longer; zero if both are in use
}

// send sends the batch to its end.
func (r *reader) send(ctx context.Context, b batch) (err error) {
	var buf []byte
	if b.swap.Old != nil {
		b.stale = time.Now()
	}
	if b.reset != nil {
		r.metrics.resets.WithLabelValues(r.name, b.reset.Why).Inc()
		if buf, err = r.format.appendEvent(buf, eventReset, nothing, b.reset); err != nil {
			return err
		}
	}
	if b.records {
		if buf, err = r.sendChanges(ctx, buf, &b); err != nil {
			return err
		}
	}
	rec := b.swap.Record
	e := version{
		Event: eventVersion, Dataset: r.name, Version: rec.Version, ID: b.swap.ID, Position: positionOf(r.at), Records: b.swap.New.Len(),
		Created: rec.Created, Full: b.swap.Full, From: b.from, Labels: rec.Labels, By: rec.By, Reason: rec.Reason, Restores: rec.Restores,
		Deleted: rec.Deleted,
	}
	if b.records {
		e.Changes = &b.changes
	}
	if buf, err = r.format.appendEvent(buf, eventVersion, e.Position, e); err != nil {
		return err
	}
	r.metrics.versions.WithLabelValues(r.name).Inc()
	r.metrics.records.WithLabelValues(r.name).Add(float64(b.changes.Total()))
	return r.out.write(buf)
}

// sendChanges sends the changes of the batch, and returns those that do not fill a chunk after buf. Each part is encoded in the CPU lane and
// written outside of it.
func (r *reader) sendChanges(ctx context.Context, buf []byte, b *batch) ([]byte, error) {
	next, stop := iter.Pull(pulses(b.swap))
	defer stop()
	for more := true; more; {
		if err := r.overdue(b); err != nil {
			return nil, err
		}
		err := r.deps.CPU.Do(ctx, func(ctx context.Context) (err error) {
			buf, more, err = r.encode(ctx, buf, b, next)
			return err
		})
		var shed *lane.ShedError
		switch {
		case errors.As(err, &shed):
			if err := pause(ctx, shed.RetryAfter); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, err
		case !more:
			return buf, nil
		}
		if err := r.out.write(buf); err != nil {
			return nil, err
		}
		buf = buf[:0]
		if cap(buf) > 4*chunk {
			buf = nil // after a large value
		}
	}
	return buf, nil
}

// encode appends changes to buf until it has a chunk; more is false after the last change.
func (r *reader) encode(ctx context.Context, buf []byte, b *batch, next func() (subscribe.Change, bool)) (_ []byte, more bool, err error) {
	for len(buf) < chunk {
		c, ok := next()
		switch {
		case !ok:
			return buf, false, nil
		case c.Op == 0: // a pulse
			lane.Yield(ctx)
			if err := ctx.Err(); err != nil {
				return nil, true, context.Cause(ctx)
			}
			if err := r.overdue(b); err != nil {
				return nil, true, err
			}
			continue
		case !strings.HasPrefix(unsafe.String(unsafe.SliceData(c.Key), len(c.Key)), r.prefix):
			continue
		}
		buf = r.format.appendChange(buf, c)
		switch c.Op {
		case subscribe.Added:
			b.changes.Added++
		case subscribe.Changed:
			b.changes.Changed++
		case subscribe.Removed:
			b.changes.Removed++
		}
	}
	return buf, true, nil
}

// pulses returns the changes of the swap. In between comes a change without an Op after every pulseRecords records that were compared.
func pulses(swap subscribe.Swap) iter.Seq[subscribe.Change] {
	return func(yield func(subscribe.Change) bool) {
		compared, goOn := 0, true
		pace := func() bool {
			if compared++; compared%pulseRecords == 0 {
				goOn = yield(subscribe.Change{})
			}
			return goOn
		}
		for c := range swap.Paced(pace) {
			if goOn = yield(c); !goOn {
				return
			}
		}
	}
}

// overdue returns an error if the batch has kept a table in memory for too long that is served no longer.
func (r *reader) overdue(b *batch) error {
	now := time.Now()
	if b.stale.IsZero() && r.dataset.Table() != b.swap.New {
		b.stale = now
	}
	if b.stale.IsZero() || now.Sub(b.stale) <= r.cfg.Behind {
		return nil
	}
	return fmt.Errorf("%w: it did not take version %d within %s, for which an older table stays in memory", errBehind, b.swap.Record.Version, r.cfg.Behind)
}

// pause waits for d. The error is the cause of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
