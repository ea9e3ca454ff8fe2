package publish

import "time"

// wallClock is where the time of what is committed comes from, in one place, so that test builds can set it wrong.
func wallClock() time.Time {
	now := time.Now()
	// gofail: var clockAhead string
	// if d, err := time.ParseDuration(clockAhead); err == nil { now = now.Round(0).Add(d) }
	return now
}
