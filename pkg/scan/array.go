package scan

import (
	"fmt"
	"reflect"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"freshet.dev/pkg/member"
)

// array is a JSON array as a value of CEL, a [traits.Lister]. Its elements are made when the first is used.
type array struct {
	json member.Value
	with *strs
	made traits.Lister
}

var _ traits.Lister = (*array)(nil)

func (a *array) list() traits.Lister {
	if a.made == nil {
		var all []ref.Val
		for e := range a.json.Elements() {
			all = append(all, a.with.value(e))
		}
		a.made = types.NewRefValList(types.DefaultTypeAdapter, all)
	}
	return a.made
}

func (a *array) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a JSON array has no form as %v", t)
}

func (a *array) ConvertToType(t ref.Type) ref.Val {
	if t == types.ListType {
		return a
	}
	return a.list().ConvertToType(t)
}

func (a *array) Type() ref.Type                 { return types.ListType }
func (a *array) Value() any                     { return a.json.Raw() }
func (a *array) Add(other ref.Val) ref.Val      { return a.list().Add(other) }
func (a *array) Contains(value ref.Val) ref.Val { return a.list().Contains(value) }
func (a *array) Get(index ref.Val) ref.Val      { return a.list().Get(index) }
func (a *array) Iterator() traits.Iterator      { return a.list().Iterator() }
func (a *array) Size() ref.Val                  { return a.list().Size() }

func (a *array) Equal(other ref.Val) ref.Val {
	if a == other {
		return types.True
	}
	return a.list().Equal(other)
}
