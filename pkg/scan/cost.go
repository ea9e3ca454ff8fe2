package scan

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
)

// The bounds of one evaluation.
const (
	// maxCost is the most that an evaluation may cost: one for each operation and for ten bytes of text that an operation reads or writes.
	// It bounds the memory of an evaluation too.
	maxCost = 200_000
	// maxNodes is the most operations of an expression whose cost is not counted.
	maxNodes = 128
	// maxProgram is the size of the largest regular expression, in instructions, and maxMatched that of the longest text that one reads.
	// The time of matches is their product.
	maxProgram = 250
	maxMatched = 64 << 10
)

// callCost counts the cost of calls. CEL's own counts are by the types that the checker knows, which for members of a value are none.
type callCost struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (callCost) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	length := textLength(result)
	for _, v := range args {
		length += textLength(v)
	}
	cost := 1 + uint64(length/10+compared(function, args)+added(function, args, result))
	return &cost
}

func textLength(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	}
	return 0
}

// cheap reports whether an evaluation costs little more than maxCost at most for any record with a value of up to smallValue bytes.
func cheap(env *cel.Env, compiled *cel.Ast) bool {
	nodes, loops := 0, false
	ast.PostOrderVisit(compiled.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		nodes++
		loops = loops || e.Kind() == ast.ComprehensionKind
	}))
	if loops || nodes > maxNodes {
		return false
	}
	estimate, err := env.EstimateCost(compiled, sizes(nodes))
	return err == nil && estimate.Max <= maxCost
}

// sizes estimates the sizes of texts in an expression without loops that has so many nodes.
type sizes int

// EstimateSize implements checker.CostEstimator.
func (s sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	const longest = smallValue + 1024 // of a value, with the key
	switch node.Expr().Kind() {
	case ast.SelectKind, ast.IdentKind:
		return &checker.SizeEstimate{Max: longest}
	}
	return &checker.SizeEstimate{Max: uint64(s) * longest} // no operation makes more than the sum of its operands
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// variablePattern reports whether the expression has a regular expression that is not a constant: compiling it takes time that no cost
// bounds.
func variablePattern(compiled *cel.Ast) (found bool) {
	ast.PostOrderVisit(compiled.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Matches {
			return
		}
		args := e.AsCall().Args()
		found = found || len(args) == 0 || args[len(args)-1].Kind() != ast.LiteralKind
	}))
	return found
}

// boundedMatches make matches refuse texts that are too long.
var boundedMatches = []*interpreter.RegexOptimization{matches(overloads.Matches), matches(overloads.MatchesString)}

func matches(overload string) *interpreter.RegexOptimization {
	return &interpreter.RegexOptimization{
		Function: overloads.Matches, OverloadID: overload, RegexIndex: 1,
		Factory: func(call interpreter.InterpretableCall, pattern string) (interpreter.InterpretableCall, error) {
			compiled, err := compileRegexp(pattern)
			if err != nil {
				return nil, err
			}
			return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(values ...ref.Val) ref.Val {
				text, ok := values[0].(types.String)
				switch {
				case !ok:
					return types.MaybeNoSuchOverloadErr(values[0])
				case len(text) > maxMatched:
					return types.NewErr("matches reads texts of up to %d bytes, this one has %d", maxMatched, len(text))
				}
				return types.Bool(compiled.MatchString(string(text)))
			}), nil
		},
	}
}

// compileRegexp refuses a regular expression of more than maxProgram instructions. (cel.RegexProgramSizeLimit of cel-go 0.31 panics at
// repetitions such as a{2}.)
func compileRegexp(pattern string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if n := len(program.Inst); n > maxProgram {
		return nil, fmt.Errorf("the regular expression %.40q has %d instructions, the most is %d", pattern, n, maxProgram)
	}
	return regexp.Compile(pattern)
}
