package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe"
)

// errStopping is the cause of the end of a feed when the server stops.
var errStopping = errors.New("the server stops")

// The reasons for resets, for programs.
const (
	whyStart      = "start"      // the reader has nothing
	whyNotKept    = "not-kept"   // the instance does not have the table of the reader's version
	whyOtherID    = "other-id"   // the reader's version has the number of the served one, and another id
	whyAhead      = "ahead"      // the instance serves an older version than the reader has
	whyUnreadable = "unreadable" // the Last-Event-ID is no position
)

// reader is one feed.
type reader struct {
	*Feeds
	request
	name     string
	dataset  Dataset
	follower Follower
	out      *stream
	opened   time.Time

	first   *subscribe.Swap // waits for the version of a reader that is ahead
	started bool
	at      dataset.Ref       // the last version, once started
	told    dataset.VersionID // the version that deletes the dataset, of the last event; zero if the dataset is not deleted
}

// run sends events until ctx ends or the reader is too slow. It returns why.
func (r *reader) run(ctx context.Context) error {
	beat := time.NewTimer(r.cfg.Heartbeat)
	defer beat.Stop()
	for {
		if err := r.advance(ctx); err != nil {
			return err
		}
		if err := r.tellDeleted(); err != nil {
			return err
		}
		beat.Reset(r.cfg.Heartbeat)
		var late <-chan time.Time
		if r.first != nil {
			late = time.After(time.Until(r.opened.Add(r.cfg.Ahead)))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.follower.Changed():
		case <-late:
		case <-beat.C:
			if err := r.out.write(r.format.appendHeartbeat(nil)); err != nil {
				return err
			}
		}
	}
}

// advance sends the versions that the reader lacks.
func (r *reader) advance(ctx context.Context) error {
	for {
		swap, ok := r.follower.Take()
		switch {
		case ok:
		case r.first != nil:
			swap = *r.first
		default:
			return nil
		}
		b, sends := r.next(swap)
		if !sends {
			if !ok {
				return nil // r.first goes on waiting
			}
			continue
		}
		if err := r.send(ctx, b); err != nil {
			return err
		}
	}
}

// next returns the batch for a swap; sends is false if the reader has the version, or waits for a later one.
func (r *reader) next(swap subscribe.Swap) (b batch, sends bool) {
	ref := dataset.Ref{Version: swap.Record.Version, ID: swap.ID}
	from := r.at
	switch {
	case r.started && ref == from && !ref.ID.IsZero():
		return batch{}, false // a replay pulled the same version again
	case r.started:
		r.at = ref
		return batch{swap: swap, from: &from, records: r.records}, true
	case r.resumes && r.unreadable == nil && r.from.Version > ref.Version && time.Since(r.opened) < r.cfg.Ahead:
		r.first = &swap
		return batch{}, false
	}
	r.started, r.at, r.first = true, ref, nil
	return r.begin(swap, ref)
}

// begin returns the first batch.
func (r *reader) begin(swap subscribe.Swap, ref dataset.Ref) (b batch, sends bool) {
	all := subscribe.Swap{Dataset: swap.Dataset, Record: swap.Record, ID: swap.ID, New: swap.New, Full: true}
	again := func(why, format string, args ...any) (batch, bool) {
		return batch{swap: all, records: r.records, reset: &reset{
			Event: eventReset, Dataset: r.name, Why: why, Reason: fmt.Sprintf(format, args...), Since: r.since(), Records: r.records,
		}}, true
	}
	switch {
	case !r.resumes, r.from.Version == 0 && r.unreadable == nil && !r.records:
		return batch{swap: all}, true
	case r.unreadable != nil:
		return again(whyUnreadable, "the Last-Event-ID %v", r.unreadable)
	case r.from.Version == 0:
		return again(whyStart, "the feed begins with all records of version %s", ref)
	}
	if since, ok := r.dataset.Since(r.from, swap); ok {
		from := r.from
		return batch{swap: since, from: &from, records: r.records}, since.Old != since.New
	}
	switch {
	case r.from.Version == ref.Version && r.from.ID != ref.ID:
		return again(whyOtherID, "version %s is served here, and version %s is of another history", ref, r.from)
	case r.from.Version > ref.Version:
		return again(whyAhead, "version %s is served here, which is older than version %s", ref, r.from)
	}
	return again(whyNotKept, "version %s is served here, and the instance does not keep version %s any more", ref, r.from)
}

// since returns the position that the reader gave; empty for none.
func (r *reader) since() string {
	switch {
	case r.from.Version == 0:
		return ""
	case r.from.ID.IsZero():
		return fmt.Sprint(r.from.Version)
	}
	return positionOf(r.from)
}

// tellDeleted sends the event of a deletion, once.
func (r *reader) tellDeleted() error {
	rec, ok := r.dataset.Deleted()
	if !ok {
		r.told = dataset.VersionID{}
		return nil
	}
	id := rec.VersionID()
	table := r.dataset.Table()
	if id == r.told || table != nil && (!r.started || rec.Dropped && r.at.Version != rec.Version) {
		return nil // the version comes first
	}
	e := deleted{
		Event: eventDeleted, Dataset: r.name, Version: rec.Version, ID: id, Created: rec.Created, By: rec.By, Reason: rec.Reason, Dropped: rec.Dropped,
	}
	if table != nil {
		e.Serves = &r.at
	}
	text, err := r.format.appendEvent(nil, eventDeleted, "", e)
	if err != nil {
		return err
	}
	r.told = id
	return r.out.write(text)
}
