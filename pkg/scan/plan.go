package scan

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"

	"freshet.dev/pkg/member"
)

// Plan is a compiled request. It is safe for concurrent use.
type Plan struct {
	limits   Limits
	prefix   []byte
	filter   *expression // nil for all records
	members  *member.Paths
	selects  []named
	groupBy  []named
	aggs     []aggregate
	order    []order
	limit    int
	position *position // nil without a cursor
}

// named is an expression with its name in a row.
type named struct {
	name string
	*expression
}

// order is a member of Request.Order.
type order struct {
	column     int // of a group's row
	descending bool
}

// Compile returns the plan of a request. Its error is a [*RequestError] if the request is wrong, or the cause of ctx. An expression may take
// some hundred milliseconds; between two of them, Compile yields in the lane of ctx.
func Compile(ctx context.Context, r Request, limits Limits) (*Plan, error) {
	p := &Plan{limits: limits.withDefaults(), prefix: []byte(r.Prefix), limit: r.Limit}
	if n := len(r.Select.Members) + len(r.Select.Named) + len(r.GroupBy) + len(r.Aggregate) + len(r.Order); n > MaxExpressions {
		return nil, refuse(WholeRequest, "it has %d expressions and names, the most is %d", n, MaxExpressions)
	}
	if n := r.textLength(); n > MaxText {
		return nil, refuse(WholeRequest, "its expressions and names have %d bytes, the most is %d", n, MaxText)
	}
	if r.Limit < 0 {
		return nil, refuse("limit", "it is %d; want 1 or more, or 0 for all rows", r.Limit)
	}
	for _, step := range []func(context.Context, Request) error{p.compileFilter, p.compileRows, p.compileGroups, p.compileOrder, p.readCursor} {
		if err := step(ctx, r); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Groups reports whether the rows are groups and not records.
func (p *Plan) Groups() bool { return len(p.groupBy)+len(p.aggs) > 0 }

func (p *Plan) compileFilter(ctx context.Context, r Request) error {
	if r.Filter == "" {
		return nil
	}
	x, compiled, err := compile(ctx, "filter", r.Filter, 0)
	if err != nil {
		return err
	}
	if t := compiled.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return refuse("filter", "the expression gives a %s; want a bool, such as value.n > 0", t)
	}
	p.filter = x
	return nil
}

func (p *Plan) compileRows(ctx context.Context, r Request) (err error) {
	if !r.Select.IsZero() && len(r.GroupBy)+len(r.Aggregate) > 0 {
		return refuse("select", "rows of groups have the members of group_by and aggregate; leave out select, or both of them")
	}
	if len(r.Select.Members) > 0 {
		if len(r.Select.Named) > 0 {
			return refuse("select", "it has both members and expressions; want one of them")
		}
		for i, path := range r.Select.Members {
			if slices.Contains(r.Select.Members[:i], path) {
				return refuse("select", "the member %.80q comes twice", path)
			}
		}
		if p.members, err = member.Parse(r.Select.Members...); err != nil {
			return refuse("select", "%v", err)
		}
		return nil
	}
	p.selects, err = compileNamed(ctx, "select", r.Select.Named)
	return err
}

func compileNamed(ctx context.Context, of string, texts map[string]string) (all []named, err error) {
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		x, _, err := compile(ctx, of+"."+name, texts[name], 0)
		if err != nil {
			return nil, err
		}
		all = append(all, named{name, x})
	}
	return all, nil
}

// endName is the member that tells [Summary] from a row.
const endName = "end"

func (p *Plan) compileGroups(ctx context.Context, r Request) (err error) {
	for of, names := range map[string]map[string]string{"group_by": r.GroupBy, "aggregate": r.Aggregate} {
		if _, taken := names[endName]; taken {
			return refuse(of+"."+endName, "the name is that of the last line; use another one")
		}
	}
	if p.groupBy, err = compileNamed(ctx, "group_by", r.GroupBy); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.Aggregate)) {
		if _, twice := r.GroupBy[name]; twice {
			return refuse("aggregate."+name, "group_by has the name too, and a row can have it once")
		}
		a, err := compileAggregate(ctx, name, r.Aggregate[name])
		if err != nil {
			return err
		}
		p.aggs = append(p.aggs, a)
	}
	return nil
}

// columns returns the names of the members of a group's row.
func (p *Plan) columns() (names []string) {
	for _, g := range p.groupBy {
		names = append(names, g.name)
	}
	for _, a := range p.aggs {
		names = append(names, a.name)
	}
	return names
}

func (p *Plan) compileOrder(_ context.Context, r Request) error {
	if len(r.Order) > 0 && !p.Groups() {
		return refuse("order", "only groups are sorted; rows of records are in the order of the table")
	}
	for _, text := range r.Order {
		name, descending := strings.CutPrefix(text, "-")
		column := slices.Index(p.columns(), name)
		if column < 0 {
			return refuse("order", "%.80q is no member of the rows; they have %s", name, strings.Join(p.columns(), ", "))
		}
		p.order = append(p.order, order{column, descending})
	}
	return nil
}

func (p *Plan) readCursor(_ context.Context, r Request) error {
	if r.Cursor == "" {
		return nil
	}
	if p.Groups() {
		return refuse("cursor", "a cursor is for rows of records; a scan of groups reads all of them at once")
	}
	at, err := parseCursor(r.Cursor)
	if err != nil {
		return refuse("cursor", "%v", err)
	}
	p.position = &at
	return nil
}

// evalError is why an expression has no usable result for a record.
type evalError struct {
	member string
	err    error
}

func (e *evalError) Error() string { return fmt.Sprintf("%s: %v", e.member, e.err) }
