package table

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// queries is the number of lookups in a round: they touch far more memory than the processor's caches hold.
const queries = 1 << 18

// lookupTimes are medians over rounds, in nanoseconds a key, by the alternative's name ("many" is freshet's GetMany).
type lookupTimes struct {
	Hit, Read, Miss map[string]float64
}

// measureLookups times all alternatives over the same random keys, round by round.
func measureLookups(ctx context.Context, f files, rounds int) (lookupTimes, error) {
	alternatives := make(map[string]alternative)
	for _, name := range names {
		a, err := build(ctx, name, f)
		if err != nil {
			return lookupTimes{}, fmt.Errorf("build %s: %w", name, err)
		}
		alternatives[name] = a
	}
	alternatives["many"] = many{alternatives["freshet"].(freshet)}
	order := append([]string{"many"}, names...)

	rng := rand.New(rand.NewPCG(1, uint64(f.count)))
	hit, read, miss := make(map[string][]float64), make(map[string][]float64), make(map[string][]float64)
	for range rounds {
		if err := ctx.Err(); err != nil {
			return lookupTimes{}, err
		}
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, name := range order {
			a := alternatives[name]
			there, gone := rows.Keys(rng, queries, 0, f.count), rows.Keys(rng, queries, f.count, f.count)
			for _, m := range []struct {
				times map[string][]float64
				keys  [][]byte
				want  int
				run   func(keys [][]byte) int
			}{
				{hit, there, queries, a.get},
				{read, rows.Keys(rng, queries, 0, f.count), queries, func(keys [][]byte) int { found, _ := a.read(keys); return found }},
				{miss, gone, 0, a.get},
			} {
				start := time.Now()
				found := m.run(m.keys)
				m.times[name] = append(m.times[name], float64(time.Since(start))/queries)
				if found != m.want {
					return lookupTimes{}, fmt.Errorf("%s found %d keys of %d", name, found, m.want)
				}
			}
		}
	}
	return lookupTimes{medians(hit), medians(read), medians(miss)}, nil
}

func medians(times map[string][]float64) map[string]float64 {
	m := make(map[string]float64)
	for name, t := range times {
		m[name] = proc.Median(t)
	}
	return m
}
