// Package clock reads the time of commits and beacons.
package clock

import "time"

// Now returns the wall clock time. Test builds can shift it by the failpoint clockAhead.
func Now() time.Time {
	now := time.Now()
	// gofail: var clockAhead string
	// if d, err := time.ParseDuration(clockAhead); err == nil { now = now.Round(0).Add(d) }
	return now
}
