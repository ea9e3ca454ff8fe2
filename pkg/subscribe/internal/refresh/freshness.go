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
	// Since is when the dataset came into it: for what a deadline decides, when that passed.
	Since time.Time
	// Left is how long it takes until another state may come by time alone; 0 if none does.
	Left time.Duration
}

// Judge returns the state that a dataset of the health h is in at now, when rec is served (nil if nothing is). The loop and
// those who ask for the status both go by it: a loop that hangs cannot keep a dataset fresh. wall is now by the clock that
// is compared with those of publishers, for whether the next version is overdue.
func (h *Health) Judge(rec *dataset.VersionRecord, now, wall time.Time) Judgement {
	version := versionOf(rec)
	var left time.Duration
	blindAt, vouched := h.blindAt()
	blind := !now.Before(blindAt)
	if vouched && !blind {
		left = blindAt.Sub(now)
	}
	var overdueAt time.Time
	overdue := false
	if rec != nil && rec.ExpectEvery > 0 {
		overdueAt = rec.Created.Add(rec.ExpectEvery)
		if overdue = !wall.Before(overdueAt); !overdue {
			left = soonest(left, overdueAt.Sub(wall))
		}
	}
	in := func(state fleet.State, since time.Time) Judgement {
		if h.State == state {
			since = h.Since
		}
		return Judgement{State: state, Since: since, Left: left}
	}
	switch {
	case h.Err != nil:
		return in(fleet.Failing, h.FailingSince)
	case h.Quarantined != "":
		return in(fleet.Quarantined, h.QuarantinedSince)
	case h.Diverged != "":
		return in(fleet.Diverged, h.DivergedSince)
	case blind, h.Doubt != "":
		if !blind {
			blindAt = now
		}
		return in(fleet.Blind, blindAt)
	case h.Newest > version && h.Refreshing:
		return in(fleet.Refreshing, h.RefreshingSince)
	case h.Newest > version:
		return in(fleet.Lagging, h.BehindSince)
	case overdue:
		return in(fleet.Overdue, overdueAt)
	case version == 0:
		return in(fleet.Waiting, now)
	}
	return in(fleet.Fresh, now)
}

// blindAt returns when the dataset is blind unless something vouches for it before, and whether anything ever has.
func (h *Health) blindAt() (at time.Time, vouched bool) {
	if h.Vouched.IsZero() {
		return h.Began, false
	}
	return h.Vouched.Add(events.BlindAfter * h.Period), true
}

// Why says in words why the dataset is in the state.
func (h *Health) Why(state fleet.State, rec *dataset.VersionRecord) string {
	switch version := versionOf(rec); state {
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
		return fmt.Sprintf("version %d is being brought up", h.Newest)
	case fleet.Lagging:
		return h.whyLagging()
	case fleet.Overdue:
		return fmt.Sprintf("there is no version after %d, although one was promised every %s", version, rec.ExpectEvery)
	case fleet.Waiting:
		return "there is no version yet"
	}
	return fmt.Sprintf("version %d is the newest", versionOf(rec))
}

func (h *Health) whyBlind() string {
	why := []string{fmt.Sprintf("no beacon has vouched for it for %d periods of %s", events.BlindAfter, h.Period)}
	if h.Vouched.IsZero() {
		why[0] = "no beacon has vouched for it since the start"
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
		why = append(why, "none can be: "+h.Denied.Error())
	}
	if h.CatchUpErr != nil {
		why = append(why, "the last catch-up failed: "+h.CatchUpErr.Error())
	}
	return strings.Join(why, "; ")
}

func (h *Health) whyLagging() string {
	if h.Newest <= h.Announced {
		return fmt.Sprintf("version %d waits to be brought up", h.Newest)
	}
	why := fmt.Sprintf("a beacon named version %d, and its record is being looked for", h.Newest)
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
