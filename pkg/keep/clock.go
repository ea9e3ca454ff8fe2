package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/store"
)

const (
	clockNote = "clock"
	// clockSlack is by how much two clocks may differ, and by how much time may seem to pass at another rate.
	clockSlack = 10 * time.Minute
	// clockWrite is how far the clock may go on before the note is written again.
	clockWrite = time.Minute
)

// clockState is the content of the note about the store's clock.
type clockState struct {
	// Seen is the latest time that a collection has read.
	Seen time.Time `json:"seen"`
	// Since is the time of the last jump: no version counts as superseded earlier.
	Since time.Time `json:"since,omitzero"`
}

// reading is a time of the store's clock, with the time of this process.
type reading struct{ store, own time.Time }

// clock reads the store's clock. If the clock has jumped, or is not that of this process, problem says so: nothing may be removed then.
// A jump is remembered in the store, unless dry is set: from then on the age of every version counts from the jump at the earliest.
func (c *Collector) clock(ctx context.Context, dry bool) (now, since time.Time, problem string, err error) {
	now, err = c.deps.Store.Clock(ctx)
	if err != nil {
		return now, since, "", fmt.Errorf("read the store's clock: %w", err)
	}
	own := c.now()
	state, err := c.clockState(ctx)
	if err != nil {
		return now, since, "", err
	}
	jump := time.Duration(0)
	if before := c.last; !before.own.IsZero() {
		jump = now.Sub(before.store) - own.Sub(before.own)
	}
	if back := state.Seen.Sub(now); back > clockSlack {
		jump = -back
	}
	switch ahead := now.Sub(own); {
	case jump.Abs() > clockSlack:
		state.Since = now
		problem = fmt.Sprintf("the store's clock jumped by %v, to %v; the age of every version counts from now on", jump.Round(time.Second), now.UTC().Format(time.DateTime))
		if !dry {
			err = c.dropMarks(ctx)
		}
	case ahead.Abs() > clockSlack:
		problem = fmt.Sprintf("the store's clock says %v and the publisher's %v; set the wrong one right", now.UTC().Format(time.DateTime), own.UTC().Format(time.DateTime))
	}
	if err == nil && !dry && problem == "" && now.Sub(state.Seen) > clockWrite || !dry && state.Since.Equal(now) {
		state.Seen = now
		err = errors.Join(err, c.putClock(ctx, state))
	}
	if jump.Abs() <= clockSlack || err == nil && !dry { // a jump is found again until it is in the store
		c.last = reading{now, own}
	}
	return now, state.Since, problem, err
}

func (c *Collector) clockState(ctx context.Context) (state clockState, err error) {
	text, err := c.deps.Store.Note(ctx, clockNote)
	if errors.Is(err, store.ErrNotFound) {
		return state, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		err = fmt.Errorf("read the note about the store's clock, gc/%s.json; remove it if it is damaged: %w", clockNote, err)
	}
	return state, err
}

func (c *Collector) putClock(ctx context.Context, state clockState) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return c.deps.Store.PutNote(ctx, clockNote, text)
}
