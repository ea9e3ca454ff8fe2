package delta

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// queries is the number of lookups in a round: they touch far more memory than the processor's caches hold.
const queries = 1 << 18

// manyKeys is the number of keys in a GetMany.
const manyKeys = 16

// lookups are medians over rounds, in nanoseconds a key, of a table after deltas and of one just loaded with the same
// content.
type lookups struct {
	Get, GetMany pair
	// WornBytes and FreshBytes are what the tables say they occupy beside the payload, for a record.
	WornBytes, FreshBytes float64
}

// pair is what both tables take. Ratio is the median of the rounds' own: what disturbs a round disturbs both of its
// halves, which follow right on each other.
type pair struct{ Worn, Fresh, Ratio float64 }

// measureLookups times lookups in the table that deltas lead to from base, and in the one that is loaded from fresh.
func measureLookups(ctx context.Context, base, fresh file, deltas []file, rounds int) (lookups, error) {
	worn, err := base.loadFile(ctx)
	if err == nil {
		worn, err = applyAll(ctx, worn, deltas)
	}
	if err != nil {
		return lookups{}, err
	}
	loaded, err := fresh.loadFile(ctx)
	if err != nil {
		return lookups{}, err
	}
	if worn.State() != loaded.State() {
		return lookups{}, fmt.Errorf("the deltas lead to %v, the snapshot is %v", worn.State(), loaded.State())
	}
	var l lookups
	rng := rand.New(rand.NewPCG(1, uint64(worn.Len())))
	looks := []func(*table.Table, [][]byte) int{get, getMany}
	times := make([]struct{ worn, fresh, ratio []float64 }, len(looks))
	for range rounds {
		for i, look := range looks {
			both := [2]*table.Table{worn, loaded}
			var took [2]float64
			for _, j := range rng.Perm(len(both)) {
				if took[j], err = timeLookups(ctx, rng, both[j], look); err != nil {
					return lookups{}, err
				}
			}
			t := &times[i]
			t.worn, t.fresh, t.ratio = append(t.worn, took[0]), append(t.fresh, took[1]), append(t.ratio, took[0]/took[1])
		}
	}
	for i, p := range []*pair{&l.Get, &l.GetMany} {
		*p = pair{proc.Median(times[i].worn), proc.Median(times[i].fresh), proc.Median(times[i].ratio)}
	}
	l.WornBytes, l.FreshBytes = overhead(worn), overhead(loaded)
	return l, nil
}

// timeLookups returns the nanoseconds that the lookup of a random key of t takes.
func timeLookups(ctx context.Context, rng *rand.Rand, t *table.Table, look func(*table.Table, [][]byte) int) (float64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	keys := rows.Keys(rng, queries, 0, t.Len())
	start := time.Now()
	found := look(t, keys)
	took := float64(time.Since(start)) / queries
	if found != queries {
		return 0, fmt.Errorf("%d keys of %d were found", found, queries)
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

// overhead returns the bytes that t occupies beside its payload, for a record.
func overhead(t *table.Table) float64 {
	return float64(t.Bytes()-t.PayloadBytes()) / float64(t.Len())
}
