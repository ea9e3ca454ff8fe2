package subscribe

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe/internal/lineage"
)

// indexes keeps the secondary indexes of a dataset. A goroutine of the dataset makes them follow the served version, like an eager view.
type indexes struct {
	d        *Dataset
	specs    *index.Specs
	callback *callback
	current  atomic.Pointer[indexed]
	first    chan struct{} // closed when there is a version
	once     sync.Once
}

// indexed is a version with its indexes, and what they cost.
type indexed struct {
	set    *index.Set
	record dataset.VersionRecord // of the set's version
	full   bool                  // built from all records
	took   time.Duration         // without the wait for the CPU lane
}

// cpuLane returns the lane in which indexes are built. A test replaces it.
var cpuLane = func(s *Subscriber) *lane.Lane { return s.lanes.CPU }

// addIndexes adds indexes to the datasets that have some. It must precede the subscriber's goroutines, which read them for the status.
func (s *Subscriber) addIndexes() error {
	for name, specs := range s.cfg.Indexes {
		if len(specs) == 0 {
			continue
		}
		compiled, err := index.Compile(specs)
		if err != nil {
			return fmt.Errorf("%w: Indexes: dataset %s: %w", ErrConfig, name, err)
		}
		d := s.datasets[name]
		x := &indexes{d: d, specs: compiled, first: make(chan struct{})}
		x.callback = &callback{what: "the update of the secondary indexes", call: x.swap, decodeErr: x.err}
		d.indexes = x
	}
	return nil
}

// startIndexes starts the goroutines of the datasets' indexes.
func (s *Subscriber) startIndexes() error {
	for _, d := range s.datasets {
		if d.indexes == nil {
			continue
		}
		if _, err := d.register(d.indexes.callback); err != nil {
			return err
		}
	}
	return nil
}

// swap moves the indexes to another version. It is a callback, so its calls come one at a time.
func (x *indexes) swap(ctx context.Context, swap Swap) {
	ctx, leave, err := cpuLane(x.d.s).Enter(ctx)
	if err != nil {
		return // Close waits
	}
	defer leave()
	began := time.Now()
	now := &indexed{record: swap.Record, full: true}
	if before := x.current.Load(); before != nil && !swap.Replayed && swap.Old == before.set.Table() {
		now.full = false
		now.set, err = before.set.Apply(ctx, swap.New, swap.ID, swap.brief(ctx))
	} else {
		now.set, err = x.specs.Build(ctx, swap.New, swap.ID)
	}
	if err != nil || ctx.Err() != nil {
		return // Close waits
	}
	now.took = time.Since(began)
	x.current.Store(now)
	x.once.Do(func() { close(x.first) })
	x.d.swapped.Wake()
}

// served returns the newest set and the version that a token asks for with it. While the set has the table that is served, that is the served
// version, which may be one that deletes the dataset and keeps its table.
func (x *indexes) served() (*index.Set, lineage.Served) {
	now, v := x.current.Load(), x.d.readable()
	switch {
	case v != nil && v.NoValue, v != nil && now != nil && v.Value == now.set.Table():
		served := lineage.Served{Record: &v.Record, ID: v.ID}
		if v.NoValue {
			return nil, served
		}
		return now.set, served
	case now != nil:
		return now.set, lineage.Served{Record: &now.record, ID: now.set.ID()}
	}
	return nil, lineage.Served{}
}

// err returns an error if the indexes lack records that they should have.
func (x *indexes) err() error {
	now := x.current.Load()
	if now == nil {
		return nil
	}
	if err := now.set.Err(); err != nil {
		return fmt.Errorf("secondary indexes of %w", err)
	}
	return nil
}

// status returns the status of each index. behind is how long a newer version has been served.
func (x *indexes) status(behind time.Duration) []fleet.IndexStatus {
	if x == nil {
		return nil
	}
	var all []fleet.IndexStatus
	now := x.current.Load()
	if now == nil {
		for _, spec := range x.specs.Specs() {
			all = append(all, fleet.IndexStatus{Index: spec.String(), BehindSeconds: behind.Seconds()})
		}
		return all
	}
	for _, st := range now.set.Stats() {
		status := fleet.IndexStatus{
			Index: st.Spec.String(), Version: now.set.Table().Version(), Records: st.Records, Entries: st.Entries, Bytes: st.Bytes,
			UpdateSeconds: now.took.Seconds(), Full: now.full, BehindSeconds: behind.Seconds(),
		}
		for _, l := range st.Lacking {
			status.Lacking = append(status.Lacking, fleet.LackingRecords{Reason: l.Reason.String(), Records: l.Records})
		}
		all = append(all, status)
	}
	return all
}

// Indexes returns the newest version whose indexes of [Config].Indexes are complete. It is nil before the first, and for a dataset
// without indexes. The set has the table of its version: it may be a little older than that of [Dataset.Table], and all records that it
// finds are of that one version. Indexes never waits and costs one atomic load. A set keeps its table in memory.
func (d *Dataset) Indexes() *index.Set {
	if d.indexes == nil {
		return nil
	}
	if now := d.indexes.current.Load(); now != nil {
		return now.set
	}
	return nil
}

// WaitIndexes returns nil as soon as [Dataset.Indexes] is not nil; for a dataset without indexes, as soon as a version is served. Its errors
// are those of [Dataset.Wait].
func (d *Dataset) WaitIndexes(ctx context.Context) error {
	if err := d.Wait(ctx); err != nil || d.indexes == nil {
		return err
	}
	select {
	case <-d.indexes.first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the indexes of dataset %s: %w", d.name, context.Cause(ctx))
	case <-d.s.ctx.Done():
		return fmt.Errorf("wait for the indexes of dataset %s: %w", d.name, ErrClosed)
	}
}
