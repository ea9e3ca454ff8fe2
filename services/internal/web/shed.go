package web

import (
	"errors"
	"time"

	"freshet.dev/pkg/lane"
)

// Shed returns the problem of work that a lane refused, and any other err as it is.
func Shed(err error) error {
	var shed *lane.ShedError
	if !errors.As(err, &shed) {
		return err
	}
	seconds := max(1, int((shed.RetryAfter+time.Second-1)/time.Second))
	return Unavailable("busy", seconds, nil, "the instance has too much heavy work now: %s", shed.Error()).With("lane", shed.Lane)
}
