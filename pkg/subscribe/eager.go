package subscribe

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/snapshot"
)

// shardRecords is how many records a shard has when the values are laid out. A shard is copied for the first change in
// it: fewer make the list of shards longer, which is copied for each version, more make each change dearer.
const shardRecords = 64

// eager keeps the values of an eager view.
type eager[V any] struct {
	view    *View[V]
	seed    maphash.Seed
	current atomic.Pointer[values[V]]
	first   chan struct{} // closed when there is a version
	once    sync.Once
}

// values are those of one version. They are immutable, and share with the version before the shards that nothing changed in.
type values[V any] struct {
	version uint64
	shards  []map[string]decoded[V] // a power of two of them
	failing int                     // records that could not be decoded
	named   string                  // the key of one of them, which the status names
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
		return value, false, nil
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

// unread returns what cannot be had of the version that the view is at; nil if everything can.
func (e *eager[V]) unread() error {
	vs := e.current.Load()
	if vs == nil || vs.failing == 0 {
		return nil
	}
	err := vs.shards[e.shard(vs, vs.named)][vs.named].err
	return fmt.Errorf("an eager view could not decode %d records of version %d: %w", vs.failing, vs.version, err)
}

// swap brings the view to another version. It is a function for OnSwap: its calls come one at a time.
func (e *eager[V]) swap(swap Swap) {
	s := e.view.s
	turn, ok := s.turn()
	if !ok {
		return
	}
	defer turn.end()
	b := e.begin(swap)
	n := 0
	for c := range swap.Changes() {
		if s.ctx.Err() != nil {
			return // Close waits
		}
		if n++; n%turnRecords == 0 {
			turn.progress()
		}
		b.apply(c)
	}
	if b.failed > 0 {
		err := fmt.Errorf("decode %d records of version %d for an eager view: %w", b.failed, b.version, b.newErr)
		s.cfg.Log.Warn("records of a version could not be decoded for an eager view", "dataset", swap.Dataset, "version", b.version,
			"records", b.failed, "error", b.newErr, "stack", guard.Stack(b.newErr))
		s.reportFailure(swap.Dataset, b.version, err)
	}
	b.name()
	e.current.Store(&b.values)
	e.once.Do(func() { close(e.first) })
}

// build is the values of a version in the making.
type build[V any] struct {
	values[V]
	eager  *eager[V]
	own    []bool // by shard: it is no longer shared
	failed int    // records of this version that could not be decoded
	newErr error  // of the first of them
}

func (e *eager[V]) begin(swap Swap) *build[V] {
	b := &build[V]{eager: e}
	if was := e.current.Load(); was != nil && swap.Old != nil {
		b.shards, b.failing, b.named = slices.Clone(was.shards), was.failing, was.named
	}
	b.version = swap.New.Version()
	if n := swap.New.Len(); len(b.shards) == 0 || n > 4*shardRecords*len(b.shards) {
		b.layOut(n)
	}
	if b.own == nil {
		b.own = make([]bool, len(b.shards))
	}
	return b
}

// layOut spreads the values over as many shards as n records want.
func (b *build[V]) layOut(n int) {
	count := 1
	for count*shardRecords < n {
		count *= 2
	}
	was := b.shards
	b.shards, b.own = make([]map[string]decoded[V], count), make([]bool, count)
	for i := range b.shards {
		b.shards[i], b.own[i] = make(map[string]decoded[V]), true
	}
	for _, shard := range was {
		for key, d := range shard {
			b.shards[b.eager.shard(&b.values, key)][key] = d
		}
	}
}

// apply makes one change.
func (b *build[V]) apply(c snapshot.Change) {
	key := string(c.Key)
	i := b.eager.shard(&b.values, key)
	if !b.own[i] {
		b.shards[i], b.own[i] = maps.Clone(b.shards[i]), true
	}
	if b.shards[i][key].err != nil {
		b.failing--
	}
	if c.Op == snapshot.Removed {
		delete(b.shards[i], key)
		return
	}
	var d decoded[V]
	d.value, d.err = b.eager.view.decodeOne(b.version, c.Key, c.New)
	if d.err != nil {
		b.failing++
		b.failed++
		if b.newErr == nil {
			b.newErr, b.named = d.err, key
		}
	}
	b.shards[i][key] = d
}

// name has the status name a record that could not be decoded. If the one that it named is right by now, or is removed,
// another one takes its place.
func (b *build[V]) name() {
	if b.failing == 0 || b.shards[b.eager.shard(&b.values, b.named)][b.named].err != nil {
		return
	}
	for _, shard := range b.shards {
		for key, d := range shard {
			if d.err != nil {
				b.named = key
				return
			}
		}
	}
}
