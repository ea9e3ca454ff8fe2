package scan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/common/types/ref"
	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/lane"
)

// groups has the groups of a scan. Its memory is bounded.
type groups struct {
	plan   *Plan
	byKey  map[string][]total // by the JSON texts of the group_by values, separated by line ends, which JSON texts on one line lack
	memory int64

	key    []byte         // of the present record
	values []ref.Val      // of its aggregates
	hashes []xxh3.Uint128 // of their JSON, for count_distinct
	text   []byte
}

func newGroups(p *Plan) *groups {
	g := &groups{plan: p, byKey: make(map[string][]total), values: make([]ref.Val, len(p.aggs)), hashes: make([]xxh3.Uint128, len(p.aggs))}
	if len(p.groupBy) == 0 {
		g.byKey[""] = make([]total, len(p.aggs)) // without records there is one row too
	}
	return g
}

// The memory of a group without its key and of each of its aggregates, roughly.
const (
	groupBytes = 128
	totalBytes = 64
)

// add adds the record. Either all aggregates count it, or none does and failed says why. err ends the scan.
func (g *groups) add(r *record) (costly bool, failed *evalError, err error) {
	if costly, failed = g.read(r); failed != nil {
		return costly, failed, nil
	}
	totals, known := g.byKey[string(g.key)]
	for i := range g.plan.aggs {
		a := &g.plan.aggs[i]
		var t *total
		if known {
			t = &totals[i]
		}
		if g.values[i] == nil {
			continue
		}
		if err := a.check(t, g.values[i]); err != nil {
			return costly, &evalError{"aggregate." + a.name, err}, nil
		}
	}
	if !known {
		totals = make([]total, len(g.plan.aggs))
		g.byKey[string(g.key)] = totals
		g.memory += groupBytes + int64(len(g.key)) + totalBytes*int64(len(totals))
	}
	for i := range g.plan.aggs {
		g.memory += g.plan.aggs[i].add(&totals[i], g.values[i], g.hashes[i])
	}
	if g.memory > g.plan.limits.Memory {
		return costly, nil, &LimitError{"memory", fmt.Sprintf("the %d groups and their aggregates take more than %d bytes; use a filter, a prefix, or a group_by with fewer values", len(g.byKey), g.plan.limits.Memory)}
	}
	return costly, nil, nil
}

// read evaluates the expressions for the record.
func (g *groups) read(r *record) (costly bool, _ *evalError) {
	g.key = g.key[:0]
	for i, x := range g.plan.groupBy {
		v, slow, err := x.eval(r)
		costly = costly || slow
		if i > 0 {
			g.key = append(g.key, '\n')
		}
		if err == nil {
			g.key, err = appendValue(g.key, v, 0)
		}
		if err == nil {
			err = checkLength(len(g.key))
		}
		if err != nil {
			return costly, &evalError{x.member, err}
		}
	}
	for i := range g.plan.aggs {
		a := &g.plan.aggs[i]
		if a.of == nil {
			continue
		}
		v, slow, err := a.of.eval(r)
		costly = costly || slow
		if err != nil {
			return costly, &evalError{a.of.member, err}
		}
		g.values[i] = unwrap(v)
		if a.kind == countDistinct && g.values[i] != nil {
			if g.text, err = appendValue(g.text[:0], g.values[i], 0); err != nil {
				return costly, &evalError{a.of.member, err}
			}
			g.hashes[i] = xxh3.Hash128(g.text)
		}
	}
	return costly, nil
}

// row is the row of a group: the JSON texts of its members.
type row []string

// rows returns the rows in their order, at most the plan's limit.
func (g *groups) rows(ctx context.Context) ([]row, error) {
	var all []row
	for key, totals := range g.byKey {
		var r row
		if len(g.plan.groupBy) > 0 {
			r = strings.Split(key, "\n")
		}
		for i := range g.plan.aggs {
			text, err := g.plan.aggs[i].appendResult(nil, &totals[i])
			if err != nil { // a sum that no number of JSON can hold
				text = []byte("null")
			}
			r = append(r, string(text))
		}
		all = append(all, r)
		yield(ctx, len(all))
	}
	compared := 0
	slices.SortFunc(all, func(a, b row) int {
		compared++
		yield(ctx, compared)
		for _, o := range g.plan.order {
			if c := compareJSON(a[o.column], b[o.column]); c != 0 && o.descending {
				return -c
			} else if c != 0 {
				return c
			}
		}
		for i := range g.plan.groupBy {
			if c := compareJSON(a[i], b[i]); c != 0 {
				return c
			}
		}
		return 0
	})
	if g.plan.limit > 0 && len(all) > g.plan.limit {
		all = all[:g.plan.limit]
	}
	return all, ctx.Err()
}

// yield yields at every 64th of n steps.
func yield(ctx context.Context, n int) {
	if n%64 == 0 {
		lane.Yield(ctx)
	}
}
