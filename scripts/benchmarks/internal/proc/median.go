package proc

import (
	"cmp"
	"slices"
)

// Median returns the median of values, the lower one of two. It sorts values.
func Median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
