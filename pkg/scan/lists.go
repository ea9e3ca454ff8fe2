package scan

import (
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// weight returns about how many tens of bytes and elements a comparison of v reads, at most a little more than most. A short expression can
// make a value with more elements than any memory has: a list that contains another list many times has it in memory once.
func weight(v ref.Val, most int) int {
	switch v := v.(type) {
	case *object:
		return 1 + len(v.raw)/10
	case *array:
		return 1 + len(v.json.Raw())/10
	case *types.Optional:
		if v.HasValue() {
			return 1 + weight(v.GetValue(), most)
		}
	case traits.Mapper:
		n := 1
		for it := v.Iterator(); n <= most && it.HasNext() == types.True; {
			key := it.Next()
			n += weight(key, most-n) + weight(v.Get(key), most-n)
		}
		return n
	case traits.Lister:
		n := 1
		for it := v.Iterator(); n <= most && it.HasNext() == types.True; {
			n += weight(it.Next(), most-n)
		}
		return n
	}
	return 1 + textLength(v)/10
}

// compared returns about how much a call reads that compares its arguments; 0 for other calls.
func compared(function string, args []ref.Val) int {
	if len(args) != 2 {
		return 0
	}
	switch function {
	case operators.Equals, operators.NotEquals: // it reads two values that are equal, or less
		return min(weight(args[0], maxCost), weight(args[1], maxCost))
	case operators.In, operators.OldIn:
		if l, ok := args[1].(traits.Lister); ok {
			return weight(l, maxCost)
		}
	}
	return 0
}

// boundLists replaces the calls whose time CEL counts after them, and which can take exponential time for lists and maps: comparisons, and
// the addition of lists, whose result is a tree of both in CEL.
func boundLists(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 2 {
		return i, nil
	}
	function := call.Function()
	impl := map[string]func(a, b ref.Val) ref.Val{
		operators.Equals:    types.Equal,
		operators.NotEquals: func(a, b ref.Val) ref.Val { return types.Bool(types.Equal(a, b) != types.True) },
		operators.In:        contains,
		operators.OldIn:     contains,
		operators.Add:       addLists,
	}[function]
	if impl == nil {
		return i, nil
	}
	return interpreter.NewCall(call.ID(), function, call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
		if compared(function, args) > maxCost {
			return types.NewErr("it compares lists or maps that are too large")
		}
		return impl(args[0], args[1])
	}), nil
}

func contains(a, in ref.Val) ref.Val {
	if c, ok := in.(traits.Container); ok {
		return c.Contains(a)
	}
	return types.ValOrErr(in, "no such overload: %s", overloads.InList)
}

// addLists adds values of any type.
func addLists(a, b ref.Val) ref.Val {
	_, grows := a.(traits.MutableLister) // the result of a map or filter
	x, isList := a.(traits.Lister)
	y, both := b.(traits.Lister)
	if isList && both && !grows {
		all := make([]ref.Val, 0, int(x.Size().(types.Int)+y.Size().(types.Int)))
		for _, l := range []traits.Lister{x, y} {
			for it := l.Iterator(); it.HasNext() == types.True; {
				all = append(all, it.Next())
			}
		}
		return types.NewRefValList(types.DefaultTypeAdapter, all)
	}
	if adder, ok := a.(traits.Adder); ok {
		return adder.Add(b)
	}
	return types.MaybeNoSuchOverloadErr(a)
}

// added returns how many elements a call has copied into a list.
func added(function string, args []ref.Val, result ref.Val) int {
	l, ok := result.(traits.Lister)
	if function != operators.Add || !ok {
		return 0
	}
	if _, grows := args[0].(traits.MutableLister); grows {
		return 0
	}
	return int(l.Size().(types.Int))
}
