package refresh

import (
	"fmt"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
)

// Judgement is the state of a dataset at a moment.
type Judgement struct {
	State fleet.State
	// Since is when the state began. For a state that a deadline begins, that is the deadline.
	Since time.Time
	// Left is how long it takes until the state may change by time alone; 0 if it cannot.
	Left time.Duration
}

// Judge returns the state at now of a dataset with the health h and the served version rec, which is nil if there is none. The loop and
// status requests both call it, so that a loop that hangs cannot keep a dataset fresh. wall is now by the clock that is compared
// with publishers' clocks; it decides whether the next version is overdue.
func (h *Health) Judge(rec *dataset.VersionRecord, now, wall time.Time) Judgement {
	if h.Pin != nil {
		return h.judgePinned(versionOf(rec), now, wall)
	}
	var left time.Duration
	blindAt, confirmed := h.blindAt()
	blind := !now.Before(blindAt)
	if confirmed && !blind {
		left = blindAt.Sub(now)
	}
	overdueAt := overdueAt(rec)
	overdue := !overdueAt.IsZero() && !wall.Before(overdueAt)
	if !overdueAt.IsZero() && !overdue {
		left = soonest(left, overdueAt.Sub(wall))
	}
	state, since := h.judge(versionOf(rec), blind, overdue, isDeleted(rec))
	switch {
	case state == h.State:
		since = h.Since
	case state == fleet.Blind && blind:
		since = blindAt
	case state == fleet.Overdue:
		since = overdueAt
	case state == fleet.Blind, state == fleet.Deleted, state == fleet.Waiting, state == fleet.Fresh:
		since = now
	}
	return Judgement{State: state, Since: since, Left: left}
}

// judge returns the state, and when it began if the health records that: not for blind, overdue, deleted, waiting and fresh.
func (h *Health) judge(version uint64, blind, overdue, deleted bool) (state fleet.State, since time.Time) {
	switch {
	case h.Err != nil:
		return fleet.Failing, h.FailingSince
	case h.Quarantined != "":
		return fleet.Quarantined, h.QuarantinedSince
	case h.Diverged != "":
		return fleet.Diverged, h.DivergedSince
	case blind, h.Doubt != "":
		return fleet.Blind, time.Time{}
	case h.Newest > version && h.Refreshing:
		return fleet.Refreshing, h.RefreshingSince
	case h.Newest > version:
		return fleet.Lagging, h.BehindSince
	case overdue:
		return fleet.Overdue, time.Time{}
	case deleted:
		return fleet.Deleted, time.Time{}
	case version == 0:
		return fleet.Waiting, time.Time{}
	}
	return fleet.Fresh, time.Time{}
}

// blindAt returns when the dataset becomes blind without another confirmation of the newest version, and whether there was one yet.
func (h *Health) blindAt() (at time.Time, confirmed bool) {
	if h.Confirmed.IsZero() {
		return h.Began, false
	}
	return h.Confirmed.Add(events.BlindAfter * h.Period), true
}

// overdueAt returns when the version after rec is overdue; zero if the publisher promised none.
func overdueAt(rec *dataset.VersionRecord) time.Time {
	if rec == nil || rec.ExpectEvery <= 0 {
		return time.Time{}
	}
	return rec.Created.Add(rec.ExpectEvery)
}

// Why describes why the dataset is in the state.
func (h *Health) Why(state fleet.State, rec *dataset.VersionRecord) string {
	if text := h.whyPinned(state); text != "" {
		return text
	}
	switch state {
	case fleet.Failing:
		if h.Err == nil {
			return "the last refresh failed"
		}
		return h.Err.Error()
	case fleet.Quarantined:
		return h.Quarantined
	case fleet.Diverged:
		return h.Diverged
	case fleet.Blind:
		return h.whyBlind()
	case fleet.Refreshing:
		return fmt.Sprintf("version %d is being loaded", h.Newest)
	case fleet.Lagging:
		return h.whyLagging()
	case fleet.Overdue:
		return fmt.Sprintf("there is no version after %d, although one was promised every %s", versionOf(rec), rec.ExpectEvery)
	case fleet.Deleted:
		return fmt.Sprintf("version %d is %s", versionOf(rec), rec.DeletedText())
	case fleet.Waiting:
		return "there is no version yet"
	}
	return fmt.Sprintf("version %d is the newest", versionOf(rec))
}

func (h *Health) whyBlind() string {
	why := []string{fmt.Sprintf("no beacon has confirmed it for %d periods of %s", events.BlindAfter, h.Period)}
	if h.Confirmed.IsZero() {
		why[0] = "no beacon has confirmed it since the start"
	}
	if h.Doubt != "" {
		why[0] = h.Doubt
	}
	if h.Conflict != "" {
		why = append(why, h.Conflict)
	}
	if h.Regressed != "" {
		why = append(why, h.Regressed)
	}
	if h.Denied != nil {
		why = append(why, "beacons cannot be received: "+h.Denied.Error())
	}
	if h.CatchUpErr != nil {
		why = append(why, "the last catch-up failed: "+h.CatchUpErr.Error())
	}
	return strings.Join(why, "; ")
}

func (h *Health) whyLagging() string {
	if h.Newest <= h.Announced {
		return fmt.Sprintf("version %d waits to be loaded", h.Newest)
	}
	why := fmt.Sprintf("a beacon named version %d, and its record has not been found yet", h.Newest)
	if h.CatchUpErr != nil {
		why += "; the last catch-up failed: " + h.CatchUpErr.Error()
	}
	return why
}

func versionOf(rec *dataset.VersionRecord) uint64 {
	if rec == nil {
		return 0
	}
	return rec.Version
}

// soonest returns the smaller of two durations, of which 0 means never.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
