// Package nearest finds the known names that a misspelt name may mean, for messages that ask "did you mean ...?".
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

const (
	// maxDistance is the largest distance of a misspelt name of more than shortName bytes.
	maxDistance = 2
	shortName   = 3
	// maxNames is the most names that Names returns: a longer list is no help.
	maxNames = 3
)

// Names returns the known names that name may mean, at most three, the nearest first: those within two edits (one for names of up to
// three bytes), and those that begin with name.
func Names(name string, known []string) []string {
	most := maxDistance
	if len(name) <= shortName {
		most = 1
	}
	distances := map[string]int{}
	var near []string
	for _, k := range slices.Sorted(slices.Values(known)) {
		d := Distance(name, k)
		if name == "" || d > most && !strings.HasPrefix(k, name) {
			continue
		}
		distances[k] = d
		near = append(near, k)
	}
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(distances[a], distances[b]) })
	return near[:min(len(near), maxNames)]
}

// Hint returns " (did you mean a or b?)" for the names that name may mean, empty if there are none.
func Hint(name string, known []string) string {
	near := Names(name, known)
	if len(near) == 0 {
		return ""
	}
	return " (did you mean " + strings.Join(near, " or ") + "?)"
}

// One returns the known name with the least distance to name. If every distance is at least the length of name, near is empty and
// distance is that length.
func One(name string, known []string) (near string, distance int) {
	distance = len(name)
	for _, k := range known {
		if d := Distance(name, k); d < distance {
			near, distance = k, d
		}
	}
	return near, distance
}

// Distance returns the Levenshtein distance of a and b in bytes.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
