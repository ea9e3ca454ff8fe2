// Package clock reads the wall clock for comparisons with the times that publishers write: the age of a version and whether the next
// one is overdue. All other times are monotonic. So a wall clock that jumps makes these two wrong by as much as it is wrong, and
// affects nothing else.
package clock

import "time"

// Wall returns the present time.
func Wall() time.Time {
	now := time.Now()
	// gofail: var clockAhead string
	// if d, err := time.ParseDuration(clockAhead); err == nil { now = now.Round(0).Add(d) }
	return now
}
