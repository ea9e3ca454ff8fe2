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
	Worn, Fresh         float64 // Get
	WornMany, FreshMany float64 // GetMany
	// WornBytes and FreshBytes are what the tables say they occupy beside the payload, for a record.
	WornBytes, FreshBytes float64
}

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
	count := worn.Len()
	rng := rand.New(rand.NewPCG(1, uint64(count)))
	runs := []struct {
		t      *table.Table
		look   func(t *table.Table, keys [][]byte) int
		median *float64
		times  []float64
	}{
		{t: worn, look: get, median: &l.Worn},
		{t: loaded, look: get, median: &l.Fresh},
		{t: worn, look: getMany, median: &l.WornMany},
		{t: loaded, look: getMany, median: &l.FreshMany},
	}
	for range rounds {
		if err := ctx.Err(); err != nil {
			return lookups{}, err
		}
		for _, i := range rng.Perm(len(runs)) {
			keys := rows.Keys(rng, queries, 0, count)
			start := time.Now()
			found := runs[i].look(runs[i].t, keys)
			runs[i].times = append(runs[i].times, float64(time.Since(start))/queries)
			if found != queries {
				return lookups{}, fmt.Errorf("%d keys of %d were found", found, queries)
			}
		}
	}
	for i := range runs {
		*runs[i].median = proc.Median(runs[i].times)
	}
	l.WornBytes, l.FreshBytes = overhead(worn), overhead(loaded)
	return l, nil
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
