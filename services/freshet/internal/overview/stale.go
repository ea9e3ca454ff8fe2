package overview

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Reason says why a dataset is stale, or may be and nobody knows.
type Reason struct {
	Dataset  string // empty if it is about all of them
	Instance string // empty if it is about none
	Why      string
}

func (r Reason) String() string {
	text := r.Why
	if r.Instance != "" {
		text = r.Instance + ": " + text
	}
	if r.Dataset != "" {
		text = r.Dataset + ": " + text
	}
	return text
}

// Committed returns the record of a version, or an error if it cannot be had.
type Committed func(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error)

// Stale returns all that is stale. maxLag is how long a newer version may be there before an instance must serve it:
// committed is asked when it was. What could not be asked is no reason but an error of the overview.
func (o Overview) Stale(ctx context.Context, maxLag time.Duration, committed Committed) []Reason {
	var all []Reason
	if o.Answers == 0 && len(o.Only) == 0 && o.Instances == nil {
		all = append(all, Reason{Why: "there is no instance" + o.where()})
	}
	if errors.Is(o.Instances, fleet.ErrNoAnswer) || errors.Is(o.Instances, fleet.ErrUnreadable) {
		all = append(all, Reason{Why: o.Instances.Error()})
	}
	for _, d := range o.Datasets {
		if len(d.Instances) == 0 && slices.Contains(o.Only, d.Dataset) && surveyed(o.Instances) {
			all = append(all, Reason{Dataset: d.Dataset, Why: "no instance" + o.where() + " has it"})
		}
		for _, i := range d.Instances {
			if why := o.why(ctx, d, i, maxLag, committed); why != "" {
				all = append(all, Reason{d.Dataset, i.Instance, why})
			}
		}
	}
	return all
}

// where names the namespace, unless it is the default one: an instance that is missing may have another.
func (o Overview) where() string {
	if o.Namespace == "" {
		return ""
	}
	return " in namespace " + o.Namespace
}

// why says why the dataset is stale on the instance; empty if it is not.
func (o Overview) why(ctx context.Context, d Dataset, i Instance, maxLag time.Duration, committed Committed) string {
	switch {
	case i.Silent:
		return fmt.Sprintf("silent: it does not answer, and its record in Redis is %s old", round(seconds(*i.RecordAge)))
	case i.State == fleet.Failing, i.State == fleet.Quarantined, i.State == fleet.Diverged, i.State == fleet.Blind, i.State == fleet.Overdue:
		return Explain(i, o.At)
	case i.State == fleet.Refreshing, i.State == fleet.Lagging:
		if behind(i, o.At) > maxLag {
			return Explain(i, o.At)
		}
		return left(i, maxLag)
	case i.State == fleet.Fresh, i.State == fleet.Waiting:
		if why := o.outdated(ctx, d, i, maxLag, committed); why != "" {
			return why
		}
		return left(i, maxLag)
	}
	return fmt.Sprintf("it is %s, a state that this freshet does not know; use one that is as new as the instance", i.State)
}

// left says if a function or view of the service has been left behind for longer than maxLag: it answers from an older
// version than the instance serves.
func left(i Instance, maxLag time.Duration) string {
	since := seconds(i.FollowersBehindSeconds)
	if since <= maxLag {
		return ""
	}
	why := fmt.Sprintf("a function or a view of the service has not come to version %d for %s", i.Version, round(since))
	if i.Warning != "" {
		why += ": " + i.Warning
	}
	return why
}

// behind returns how long the instance has known of a newer version than it serves, by its own clock if it says so.
func behind(i Instance, now time.Time) time.Duration {
	switch {
	case i.BehindSince.IsZero():
		return now.Sub(i.Since)
	case i.BehindSeconds > 0:
		return seconds(i.BehindSeconds)
	}
	return now.Sub(i.BehindSince)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// outdated says if the instance knows of nothing newer, although there has been a newer version for longer than maxLag.
func (o Overview) outdated(ctx context.Context, d Dataset, i Instance, maxLag time.Duration, committed Committed) string {
	if d.Latest == nil {
		return ""
	}
	if d.Latest.Version <= i.Version {
		return o.foreign(ctx, d, i, committed)
	}
	// Since when is there a newer one: the newest of all may be the last of many.
	next := *d.Latest
	if first := i.Version + 1; first < next.Version {
		if rec, err := committed(ctx, d.Dataset, first); err == nil {
			next = rec
		} // else at least since the newest
	}
	if o.At.Sub(next.Created) <= maxLag {
		return ""
	}
	claim := fmt.Sprintf("it says that it is %s on version %d", i.State, i.Version)
	if i.Version == 0 {
		claim = "it says that there is no version"
	}
	return fmt.Sprintf("%s, but version %d was committed %s ago, and the newest is %d", claim, next.Version, round(o.At.Sub(next.Created)), d.Latest.Version)
}

// foreign says if the instance serves a version that is not the store's version of that number.
func (o Overview) foreign(ctx context.Context, d Dataset, i Instance, committed Committed) string {
	if i.ID.IsZero() {
		return "" // an instance of an earlier release
	}
	rec := *d.Latest
	if rec.Version != i.Version {
		var err error
		if rec, err = committed(ctx, d.Dataset, i.Version); err != nil {
			return fmt.Sprintf("it says that it is %s on version %d, and the store's newest version is %d", i.State, i.Version, d.Latest.Version)
		}
	}
	if id := rec.VersionID(); id != i.ID {
		return fmt.Sprintf("it says that it is %s on version %s, and version %d of the store has the id %s", i.State, dataset.Ref{Version: i.Version, ID: i.ID}, i.Version, id.Short())
	}
	return ""
}

// Explain says what the state of a dataset on an instance means there. It is empty for those that need no words.
func Explain(i Instance, now time.Time) string {
	since := func(t time.Time) string { return round(max(0, now.Sub(t))).String() }
	switch i.State {
	case fleet.Failing:
		return fmt.Sprintf("failing for %s on version %d, newest known %d: %s", since(i.Since), i.Version, i.Newest, i.Error)
	case fleet.Quarantined, fleet.Diverged:
		return fmt.Sprintf("%s for %s: %s", i.State, since(i.Since), i.Warning)
	case fleet.Blind:
		if i.Vouched.IsZero() {
			return fmt.Sprintf("blind: nothing has said yet whether version %d is the newest", i.Version)
		}
		return fmt.Sprintf("blind: nothing has said for %s whether version %d is the newest", since(i.Vouched), i.Version)
	case fleet.Refreshing, fleet.Lagging:
		return fmt.Sprintf("%s for %s: version %d is served, %d is known", i.State, round(max(0, behind(i, now))), i.Version, i.Newest)
	case fleet.Overdue:
		return fmt.Sprintf("overdue: version %d is %s old, and a newer one is promised every %s", i.Version, since(i.Created), i.ExpectEvery)
	}
	return ""
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
