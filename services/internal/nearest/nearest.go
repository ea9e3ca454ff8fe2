// Package nearest finds the names that a misspelt name may mean.
package nearest

import (
	"cmp"
	"slices"
)

// maxNames is how many names Names returns.
const maxNames = 3

// Names returns the names in all that are like name, the most similar first: up to a third of its characters differ, or one does.
func Names(name string, all []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, other := range all {
		if d := distance(name, other); other != name && d <= max(1, len(name)/3) {
			near = append(near, candidate{other, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range near[:min(len(near), maxNames)] {
		names = append(names, c.name)
	}
	return names
}

// distance returns how many characters must be inserted, removed, replaced or swapped with the next one to make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
