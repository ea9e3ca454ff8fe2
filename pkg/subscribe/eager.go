package subscribe

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
)

// shardRecords is the number of records in a shard of a new layout. The first change in a shard copies the shard, and each
// version copies the list of shards: smaller shards make the list longer, larger ones make each change cost more.
const shardRecords = 64

// eager keeps the values of an eager view.
type eager[V any] struct {
	view    *View[V]
	seed    maphash.Seed
	current atomic.Pointer[values[V]]
	first   chan struct{} // closed when there is a version
	once    sync.Once
}

// values are the decoded records of one version. They are immutable. Shards without a change are shared with the version
// before.
type values[V any] struct {
	version   uint64
	shards    []map[string]decoded[V] // a power of two of them
	failing   int                     // the number of records that could not be decoded
	failedKey string                  // the key of one of them, for the status
}

type decoded[V any] struct {
	value V
	err   error
}

func newEager[V any](v *View[V]) *eager[V] {
	return &eager[V]{view: v, seed: maphash.MakeSeed(), first: make(chan struct{})}
}

func (e *eager[V]) shard(vs *values[V], key string) int {
	return int(maphash.String(e.seed, key) & uint64(len(vs.shards)-1))
}

func (e *eager[V]) get(key string) (value V, ok bool, err error) {
	vs := e.current.Load()
	if vs == nil {
		return value, false, e.view.d.none()
	}
	d, ok := vs.shards[e.shard(vs, key)][key]
	return d.value, ok, d.err
}

func (e *eager[V]) version() uint64 {
	if vs := e.current.Load(); vs != nil {
		return vs.version
	}
	return 0
}

// decodeErr returns an error if records of the view's version could not be decoded.
func (e *eager[V]) decodeErr() error {
	vs := e.current.Load()
	if vs == nil || vs.failing == 0 {
		return nil
	}
	err := vs.shards[e.shard(vs, vs.failedKey)][vs.failedKey].err
	return fmt.Errorf("an eager view could not decode %d records of version %d: %w", vs.failing, vs.version, err)
}

// swap moves the view to another version. It is the view's callback, so its calls come one at a time.
func (e *eager[V]) swap(ctx context.Context, swap Swap) {
	if swap.Replayed {
		swap.Old, swap.changes = nil, nil // the view is rebuilt from all records
	}
	s := e.view.d.s
	slot, ok := s.acquireSlot(ctx)
	if !ok {
		return
	}
	defer slot.end()
	inside, leave, err := s.lanes.CPU.Enter(ctx)
	if err != nil {
		return
	}
	defer leave()
	b := e.newBuild(inside, swap)
	n := 0
	pace := func() bool {
		if n++; n%yieldRecords == 0 {
			lane.Yield(inside)
			slot.progress()
		}
		return ctx.Err() == nil
	}
	for c := range swap.Paced(pace) {
		b.apply(c)
	}
	if ctx.Err() != nil {
		return // Close waits
	}
	if b.failed > 0 {
		s.events.DecodeFailed(DecodeFailure{Dataset: swap.Dataset, Version: b.version, Records: b.failed, Err: b.newErr})
	}
	b.checkFailedKey()
	e.current.Store(&b.values)
	e.once.Do(func() { close(e.first) })
}

// build makes the values of a version.
type build[V any] struct {
	values[V]
	eager  *eager[V]
	owned  []bool // by shard: it is a copy of the build's own
	failed int    // the number of records decoded by this build that failed
	newErr error  // of the first of them
}

// newBuild returns a build with the values of the version before.
func (e *eager[V]) newBuild(ctx context.Context, swap Swap) *build[V] {
	b := &build[V]{eager: e}
	if before := e.current.Load(); before != nil && swap.Old != nil {
		b.shards, b.failing, b.failedKey = slices.Clone(before.shards), before.failing, before.failedKey
	}
	b.version = swap.New.Version()
	if n := swap.New.Len(); len(b.shards) == 0 || n > 4*shardRecords*len(b.shards) {
		b.layOut(ctx, n)
	}
	if b.owned == nil {
		b.owned = make([]bool, len(b.shards))
	}
	return b
}

// layOut distributes the values over a number of shards that fits n records.
func (b *build[V]) layOut(ctx context.Context, n int) {
	count := 1
	for count*shardRecords < n {
		count *= 2
	}
	before := b.shards
	b.shards, b.owned = make([]map[string]decoded[V], count), make([]bool, count)
	for i := range b.shards {
		b.shards[i], b.owned[i] = make(map[string]decoded[V]), true
	}
	for _, shard := range before {
		lane.Yield(ctx)
		for key, d := range shard {
			b.shards[b.eager.shard(&b.values, key)][key] = d
		}
	}
}

// apply applies one change.
func (b *build[V]) apply(c snapshot.Change) {
	key := string(c.Key)
	i := b.eager.shard(&b.values, key)
	if !b.owned[i] {
		b.shards[i], b.owned[i] = maps.Clone(b.shards[i]), true
	}
	if b.shards[i][key].err != nil {
		b.failing--
	}
	if c.Op == snapshot.Removed {
		delete(b.shards[i], key)
		return
	}
	var d decoded[V]
	d.value, d.err = b.eager.view.decodeRecord(b.version, c.Key, c.New)
	if d.err != nil {
		b.failing++
		b.failed++
		if b.newErr == nil {
			b.newErr, b.failedKey = d.err, key
		}
	}
	b.shards[i][key] = d
}

// checkFailedKey picks another failedKey if the record of the present one is decoded or removed by now.
func (b *build[V]) checkFailedKey() {
	if b.failing == 0 || b.shards[b.eager.shard(&b.values, b.failedKey)][b.failedKey].err != nil {
		return
	}
	for _, shard := range b.shards {
		for key, d := range shard {
			if d.err != nil {
				b.failedKey = key
				return
			}
		}
	}
}
