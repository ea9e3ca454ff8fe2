// Package clock is where an instance reads the clock on the wall: for what it compares with the times that publishers
// write, which is the age of a version and whether the next one is overdue. Nothing else depends on it, so a clock that jumps
// makes these two wrong, by as much as it is wrong, and stops nothing.
package clock

import "time"

// Wall returns the time.
func Wall() time.Time {
	now := time.Now()
	// gofail: var clockAhead string
	// if d, err := time.ParseDuration(clockAhead); err == nil { now = now.Round(0).Add(d) }
	return now
}
