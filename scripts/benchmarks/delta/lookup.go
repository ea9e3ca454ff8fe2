package delta

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// A round looks up turns times queries keys in each table and alternates between the tables after each turn of two milliseconds. A
// disturbance of the machine that lasts longer slows both tables. The keys touch far more memory than the processor's caches hold.
const (
	turns   = 16
	queries = 1 << 14
)

// manyKeys is the number of keys in a GetMany.
const manyKeys = 16

// lookups are the rounds of a table after deltas, and of a freshly loaded table with the same content.
type lookups struct {
	Get, GetMany rounds
	// WornBytes and FreshBytes are the bytes a record that the tables report in addition to the payload.
	WornBytes, FreshBytes float64
}

// rounds are the times of each round in both tables, in nanoseconds a key.
type rounds struct{ Worn, Fresh []float64 }

// add appends the rounds of another process.
func (l *lookups) add(o lookups) {
	for _, p := range [][2]*rounds{{&l.Get, &o.Get}, {&l.GetMany, &o.GetMany}} {
		p[0].Worn, p[0].Fresh = append(p[0].Worn, p[1].Worn...), append(p[0].Fresh, p[1].Fresh...)
	}
	l.WornBytes, l.FreshBytes = o.WornBytes, o.FreshBytes
}

// ratios returns the ratios of the worn table's rounds to the fresh table's, ascending.
func (r rounds) ratios() []float64 {
	all := make([]float64, len(r.Worn))
	for i, worn := range r.Worn {
		all[i] = worn / r.Fresh[i]
	}
	slices.Sort(all)
	return all
}

// measureLookups times lookups in the table that deltas build from base, and in the table that is loaded from fresh. A used heap makes
// a table slower, because memory that was touched page by page gets no huge pages. So the caller measures once in each order. Free
// memory does not go back to the system in between: that would break up the huge pages around it, above all those of the worn table.
func measureLookups(ctx context.Context, base, fresh file, deltas []file, freshFirst bool, count int) (lookups, error) {
	var worn, loaded *table.Table
	make := []func() error{
		func() (err error) {
			if worn, err = base.loadFile(ctx); err == nil {
				worn, err = applyAll(ctx, worn, deltas)
			}
			return err
		},
		func() (err error) {
			loaded, err = fresh.loadFile(ctx)
			return err
		},
	}
	if freshFirst {
		slices.Reverse(make)
	}
	for _, f := range make {
		if err := f(); err != nil {
			return lookups{}, err
		}
		runtime.GC()
	}
	if worn.State() != loaded.State() {
		return lookups{}, fmt.Errorf("the deltas lead to %v, the snapshot is %v", worn.State(), loaded.State())
	}
	l := lookups{WornBytes: overhead(worn), FreshBytes: overhead(loaded)}
	rng := rand.New(rand.NewPCG(1, uint64(worn.Len())))
	for range count {
		for _, by := range []struct {
			look func(*table.Table, [][]byte) int
			into *rounds
		}{{get, &l.Get}, {getMany, &l.GetMany}} {
			took, err := timeRound(ctx, rng, [2]*table.Table{worn, loaded}, by.look)
			if err != nil {
				return lookups{}, err
			}
			by.into.Worn, by.into.Fresh = append(by.into.Worn, took[0]), append(by.into.Fresh, took[1])
		}
	}
	return l, nil
}

// timeRound returns the nanoseconds that the lookup of a random key takes in each of two tables.
func timeRound(ctx context.Context, rng *rand.Rand, both [2]*table.Table, look func(*table.Table, [][]byte) int) (took [2]float64, err error) {
	for range turns {
		if ctx.Err() != nil {
			return took, context.Cause(ctx)
		}
		for _, i := range rng.Perm(len(both)) {
			// The keys that were just generated are in the processor's caches for either table.
			keys := rows.Keys(rng, queries, 0, both[i].Len())
			start := time.Now()
			found := look(both[i], keys)
			took[i] += float64(time.Since(start)) / (turns * queries)
			if found != queries {
				return took, fmt.Errorf("%d keys of %d were found", found, queries)
			}
		}
	}
	return took, nil
}

func get(t *table.Table, keys [][]byte) (found int) {
	for _, key := range keys {
		if _, ok := t.Get(key); ok {
			found++
		}
	}
	return found
}

func getMany(t *table.Table, keys [][]byte) (found int) {
	var values [manyKeys][]byte
	for ; len(keys) >= manyKeys; keys = keys[manyKeys:] {
		found += t.GetMany(keys[:manyKeys], values[:])
	}
	return found
}

// overhead returns the bytes a record that t occupies in addition to its payload.
func overhead(t *table.Table) float64 {
	return float64(t.Bytes()-t.PayloadBytes()) / float64(t.Len())
}
