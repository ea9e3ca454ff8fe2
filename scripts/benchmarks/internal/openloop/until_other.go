//go:build !linux

package openloop

import "time"

// Pin does nothing here.
func Pin() {}

// Until sleeps until t.
func Until(t time.Time) { time.Sleep(time.Until(t)) }
