package openloop

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Pin locks the goroutine to a thread whose sleeps end at most a microsecond late on an idle processor. The timers of the Go
// runtime end up to a millisecond late. The caller ends the goroutine without unpinning it.
func Pin() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it a sleep ends 50 us late
}

// Until sleeps until t. Call it on a pinned goroutine.
func Until(t time.Time) {
	for {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		spec := unix.NsecToTimespec(int64(left))
		_ = unix.Nanosleep(&spec, nil) // a signal ends it early
	}
}
