package scan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"freshet.dev/pkg/lane"
)

// environment returns the CEL environment, which all expressions share. The first call takes some milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("key", cel.StringType),
		cel.Variable("value", cel.MapType(cel.StringType, cel.DynType)),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(MaxExpression),
		cel.ParserRecursionLimit(100),
		cel.ExpressionNestingDepthLimit(100),
	)
})

// smallValue is the length of values for which most expressions need no count of their cost; see expression.
const smallValue = 64 << 10

// expression is a compiled expression.
type expression struct {
	member string // of the request
	// small evaluates records with values of up to smallValue bytes without counting the cost, which allocates for each operation. It is
	// nil if the cost might exceed maxCost, as that of a comprehension may.
	small cel.Program
	any   cel.Program
}

// compile compiles the expression text of the member. before are the characters before it in the member's text.
func compile(ctx context.Context, name, text string, before int) (*expression, *cel.Ast, error) {
	if n := utf8.RuneCountInString(text); n > MaxExpression {
		return nil, nil, refuse(name, "the expression has %d characters, the most is %d", n, MaxExpression)
	}
	lane.Yield(ctx)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	env, err := environment()
	if err != nil {
		return nil, nil, fmt.Errorf("make the environment of expressions: %w", err)
	}
	compiled, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, nil, refusal(name, issues, before)
	}
	if variablePattern(compiled) {
		return nil, nil, refuse(name, "the pattern of matches is not a constant; want a string, such as key.matches('^a')")
	}
	x := &expression{member: name}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.OptimizeRegex(boundedMatches...)}
	// A small program has neither loops nor variables, so that its lists are no longer than its text and the value.
	if x.any, err = env.Program(compiled, append(options, cel.CustomDecoratorV2(boundLists), cel.CostTracking(callCost{}), cel.CostLimit(maxCost))...); err == nil && cheap(env, compiled) {
		x.small, err = env.Program(compiled, options...)
	}
	if err != nil { // such as a constant regular expression that is none
		return nil, nil, refuse(name, "%s", oneLine(err))
	}
	return x, compiled, nil
}

// refusal returns the first of the issues.
func refusal(name string, issues *cel.Issues, before int) error {
	first := issues.Errors()[0]
	e := &RequestError{Member: name, Reason: oneLine(errors.New(first.Message))}
	if first.Location != nil && first.Location.Line() > 0 {
		e.Line, e.Column = first.Location.Line(), first.Location.Column()+1
		if e.Line == 1 {
			e.Column += before
		}
	}
	return e
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// record is the record that expressions read, an activation of CEL. The same one is used for all records of a scan.
type record struct {
	key, value []byte
	keyText    ref.Val // nil until it is used
	root       *object
}

func newRecord() *record { return &record{root: &object{with: new(strs)}} }

func (r *record) set(key, value []byte) {
	r.key, r.value, r.keyText = key, value, nil
	r.root.reset(value)
}

// ResolveName implements cel.Activation.
func (r *record) ResolveName(name string) (any, bool) {
	switch name {
	case "value":
		return r.root, true
	case "key":
		if r.keyText == nil {
			r.keyText = types.String(unsafe.String(unsafe.SliceData(r.key), len(r.key))) // the table never changes
		}
		return r.keyText, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (r *record) Parent() cel.Activation { return nil }

// eval evaluates the expression for the record. The result may alias the record and is valid until the next one. costly reports that the
// evaluation may have taken long.
func (x *expression) eval(r *record) (v ref.Val, costly bool, err error) {
	if x.small != nil && len(r.value) <= smallValue {
		v, _, err = x.small.Eval(r)
	} else {
		v, _, err = x.any.Eval(r)
		costly = true
	}
	return v, costly, err
}
