// Package clock reads the wall clock for comparisons with the times that publishers write: the age of a version and whether the next
// one is overdue. All other times are monotonic. So a wall clock that jumps makes these two wrong by as much as it is wrong, and
// affects nothing else.
package clock

import "time"

// Wall returns the present time.
func Wall() time.Time {
	_, wall := Both()
	return wall
}

// Both returns the present time for measuring durations, and for comparisons with the times of publishers. It reads the clock once.
func Both() (now, wall time.Time) {
	now = time.Now()
	wall = now
	// gofail: var clockAhead string
	// if d, err := time.ParseDuration(clockAhead); err == nil { wall = wall.Round(0).Add(d) }
	return now, wall
}
