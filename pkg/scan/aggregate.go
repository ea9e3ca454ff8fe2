package scan

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/zeebo/xxh3"
)

// kind is the function of an aggregate.
type kind string

const (
	count         kind = "count"
	sum           kind = "sum"
	least         kind = "min"
	most          kind = "max"
	average       kind = "avg"
	countDistinct kind = "count_distinct"
)

// aggregate is one aggregate of a request.
type aggregate struct {
	name string
	kind kind
	of   *expression // nil for count
}

var call = regexp.MustCompile(`(?s)^(\s*([a-z_]+)\s*\()(.*)\)\s*$`)

const aggregateForms = "want count(), sum(EXPR), min(EXPR), max(EXPR), avg(EXPR) or count_distinct(EXPR)"

func compileAggregate(ctx context.Context, name, text string) (aggregate, error) {
	member := "aggregate." + name
	parts := call.FindStringSubmatch(text)
	if parts == nil {
		return aggregate{}, refuse(member, "%.80q is no aggregate; %s", text, aggregateForms)
	}
	a := aggregate{name: name, kind: kind(parts[2])}
	switch a.kind {
	case count:
		if strings.TrimSpace(parts[3]) != "" {
			return aggregate{}, refuse(member, "count() counts records and takes no expression; count_distinct(EXPR) counts values, and filter chooses records")
		}
		return a, nil
	case sum, least, most, average, countDistinct:
	default:
		return aggregate{}, refuse(member, "there is no aggregate %.40q; %s", parts[2], aggregateForms)
	}
	if strings.TrimSpace(parts[3]) == "" {
		return aggregate{}, refuse(member, "%s needs an expression, such as %s(value.n)", a.kind, a.kind)
	}
	var err error
	a.of, _, err = compile(ctx, member, parts[3], utf8.RuneCountInString(parts[1]))
	return a, err
}

// unwrap returns what an aggregate counts of v; nil for null and optional.none().
func unwrap(v ref.Val) ref.Val {
	if o, ok := v.(*types.Optional); ok {
		if !o.HasValue() {
			return nil
		}
		v = o.GetValue()
	}
	if v == types.NullValue {
		return nil
	}
	return v
}

// total is the state of one aggregate of one group.
type total struct {
	count    int64 // of records, or of the values that are no null
	whole    int64 // the sum of whole numbers
	rest     float64
	inexact  bool    // rest counts too
	best     ref.Val // of min and max
	distinct map[xxh3.Uint128]struct{}
}

// check returns why v, which is not nil, cannot be added to the total; nil if it can.
func (a *aggregate) check(t *total, v ref.Val) error {
	if d, ok := v.(types.Double); ok && math.IsNaN(float64(d)) && a.kind != countDistinct {
		return fmt.Errorf("%s of a number that is NaN", a.kind)
	}
	switch a.kind {
	case sum, average:
		switch v.(type) {
		case types.Int, types.Uint, types.Double:
			return nil
		}
		return fmt.Errorf("%s of a %s; want numbers", a.kind, v.Type().TypeName())
	case least, most:
		switch v.(type) {
		case types.Int, types.Uint, types.Double, types.String:
		default:
			return fmt.Errorf("%s of a %s; want numbers or strings", a.kind, v.Type().TypeName())
		}
		if t != nil && t.best != nil {
			if c := v.(traits.Comparer).Compare(t.best); types.IsError(c) {
				return fmt.Errorf("%s of a %s and a %s; want values of one type", a.kind, v.Type().TypeName(), t.best.Type().TypeName())
			}
		}
	}
	return nil
}

// add adds v, which check has taken, and returns by how many bytes the total grows. hash is that of the JSON of v, for count_distinct.
func (a *aggregate) add(t *total, v ref.Val, hash xxh3.Uint128) (grown int64) {
	if a.kind == count {
		t.count++
		return 0
	}
	if v == nil {
		return 0
	}
	t.count++
	switch a.kind {
	case sum, average:
		t.sum(v)
	case least, most:
		return a.choose(t, v)
	case countDistinct:
		const each = 48 // of a map's entry
		if t.distinct == nil {
			t.distinct = make(map[xxh3.Uint128]struct{})
		}
		before := len(t.distinct)
		t.distinct[hash] = struct{}{}
		return int64(len(t.distinct)-before) * each
	}
	return 0
}

func (t *total) sum(v ref.Val) {
	switch n := v.(type) {
	case types.Int:
		if s := t.whole + int64(n); (s > t.whole) == (n > 0) {
			t.whole = s
			return
		}
		t.rest += float64(n)
	case types.Uint:
		t.rest += float64(n)
	case types.Double:
		t.rest += float64(n)
	}
	t.inexact = true
}

// choose keeps v if it is the least or the most.
func (a *aggregate) choose(t *total, v ref.Val) (grown int64) {
	if t.best != nil {
		c, _ := v.(traits.Comparer).Compare(t.best).(types.Int)
		if a.kind == least && c >= 0 || a.kind == most && c <= 0 {
			return 0
		}
	}
	if s, ok := v.(types.String); ok { // which aliases the table
		if last, ok := t.best.(types.String); ok {
			grown = -int64(len(last))
		}
		v, grown = types.String(strings.Clone(string(s))), grown+int64(len(s))
	}
	t.best = v
	return grown
}

// appendResult appends the JSON of the aggregate's value.
func (a *aggregate) appendResult(dst []byte, t *total) ([]byte, error) {
	switch a.kind {
	case count:
		return strconv.AppendInt(dst, t.count, 10), nil
	case countDistinct:
		return strconv.AppendInt(dst, int64(len(t.distinct)), 10), nil
	case sum:
		if !t.inexact {
			return strconv.AppendInt(dst, t.whole, 10), nil
		}
		return appendDouble(dst, float64(t.whole)+t.rest)
	case average:
		if t.count > 0 {
			return appendDouble(dst, (float64(t.whole)+t.rest)/float64(t.count))
		}
	case least, most:
		if t.best != nil {
			return appendValue(dst, t.best, 0)
		}
	}
	return append(dst, "null"...), nil
}
