package overview

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Reason is why a dataset is stale or may be stale.
type Reason struct {
	Dataset  string // empty for a reason about all datasets
	Instance string // empty for a reason about no single instance
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

// Committed returns the record of a version, or an error if the version cannot be read.
type Committed func(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error)

// Stale returns the reasons why datasets are stale. maxLag is how long an instance may take to serve a version after its commit,
// whose time committed returns. A source that could not be queried gives no reason; [Overview.Unasked] reports it.
func (o Overview) Stale(ctx context.Context, maxLag time.Duration, committed Committed) []Reason {
	var all []Reason
	if o.Known == 0 && len(o.Only) == 0 && o.Instances == nil {
		all = append(all, Reason{Why: "there is no instance" + o.where()})
	}
	if errors.Is(o.Instances, fleet.ErrNoAnswer) || errors.Is(o.Instances, fleet.ErrUnreadable) {
		all = append(all, Reason{Why: o.Instances.Error()})
	}
	for _, d := range o.Datasets {
		if len(d.Instances) == 0 && slices.Contains(o.Only, d.Dataset) && Surveyed(o.Instances) {
			why := "no instance" + o.where() + " has it"
			if len(d.MaybeOn) > 0 {
				why = "it is not in the answers" + o.where() + ", and these instances left datasets out: " + strings.Join(d.MaybeOn, ", ")
			}
			all = append(all, Reason{Dataset: d.Dataset, Why: why})
		}
		for _, i := range d.Instances {
			if why := o.why(ctx, d, i, maxLag, committed); why != "" {
				all = append(all, Reason{d.Dataset, i.Instance, why})
			}
		}
	}
	return all
}

// TooFew returns the reasons why fewer instances answer than least: one reason for each requested dataset, or one for all instances if
// the overview is about all datasets. An instance that left datasets out of its answer counts for every dataset. TooFew returns
// nothing if no survey reached the instances; [Overview.Unasked] reports that.
func (o Overview) TooFew(least int) []Reason {
	if !Surveyed(o.Instances) {
		return nil
	}
	if len(o.Only) == 0 {
		if o.Answering >= least {
			return nil
		}
		return []Reason{{Why: fmt.Sprintf("%s%s, want %d", answer(o.Answering), o.where(), least)}}
	}
	var all []Reason
	for _, d := range o.Datasets {
		n := 0
		for _, omits := range o.omitting {
			if omits {
				n++
			}
		}
		for _, i := range d.Instances {
			if i.RecordAge == nil && !o.omitting[i.Instance] {
				n++
			}
		}
		if n < least {
			all = append(all, Reason{Dataset: d.Dataset, Why: fmt.Sprintf("%s%s, want %d", answer(n), o.where(), least)})
		}
	}
	return all
}

func answer(n int) string {
	if n == 1 {
		return "1 instance answers"
	}
	return fmt.Sprintf("%d instances answer", n)
}

// where names the namespace unless it is the default one, and the labels: a missing instance may be in another namespace, or have
// other labels.
func (o Overview) where() string {
	text := ""
	if o.Select != nil && len(o.Select.Labels) > 0 {
		text = " with " + fleet.FormatLabels(o.Select.Labels)
	}
	if o.Namespace != "" {
		text += " in namespace " + o.Namespace
	}
	return text
}

// why returns why the dataset is stale on the instance; empty if it is not stale.
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
		return followersBehind(i, maxLag)
	case i.State == fleet.Pinned:
		return followersBehind(i, maxLag)
	case i.State == fleet.Fresh, i.State == fleet.Waiting, i.State == fleet.Deleted:
		if why := o.outdated(ctx, d, i, maxLag, committed); why != "" {
			return why
		}
		return followersBehind(i, maxLag)
	}
	return fmt.Sprintf("it is %s, a state that this freshet does not know; use the release of the instance", i.State)
}

// followersBehind reports a function or view of the instance that has been behind the served version for longer than maxLag.
func followersBehind(i Instance, maxLag time.Duration) string {
	since := seconds(i.FollowersBehindSeconds)
	if since <= maxLag {
		return ""
	}
	why := fmt.Sprintf("a function or a view of the service has been behind version %d for %s", i.Version, round(since))
	if i.Warning != "" {
		why += ": " + i.Warning
	}
	return why
}

// behind returns how long the instance has known of a newer version than it serves, by the instance's clock if it reports that.
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

// outdated reports an instance that does not know of a newer version which was committed longer than maxLag ago.
func (o Overview) outdated(ctx context.Context, d Dataset, i Instance, maxLag time.Duration, committed Committed) string {
	if d.Latest == nil {
		return ""
	}
	if d.Latest.Version <= i.Version {
		return o.otherHistory(ctx, d, i, committed)
	}
	// The first version after the served one tells since when a newer version exists.
	next := *d.Latest
	if first := i.Version + 1; first < next.Version {
		if rec, err := committed(ctx, d.Dataset, first); err == nil {
			next = rec
		} // else the newest version gives a lower bound
	}
	if o.At.Sub(next.Created) <= maxLag {
		return ""
	}
	reported := fmt.Sprintf("it reports to be %s on version %d", i.State, i.Version)
	if i.Version == 0 {
		reported = "it reports that there is no version"
	}
	return fmt.Sprintf("%s, but version %d was committed %s ago, and the newest is %d", reported, next.Version, round(o.At.Sub(next.Created)), d.Latest.Version)
}

// otherHistory reports an instance that serves a version that is not the store's version with that number.
func (o Overview) otherHistory(ctx context.Context, d Dataset, i Instance, committed Committed) string {
	if i.ID.IsZero() {
		return "" // an instance of an earlier release
	}
	rec := *d.Latest
	if rec.Version != i.Version {
		var err error
		if rec, err = committed(ctx, d.Dataset, i.Version); err != nil {
			return fmt.Sprintf("it reports to be %s on version %d, and the store's newest version is %d", i.State, i.Version, d.Latest.Version)
		}
	}
	if id := rec.VersionID(); id != i.ID {
		return fmt.Sprintf("it reports to be %s on version %s, and version %d of the store has the id %s", i.State, dataset.Ref{Version: i.Version, ID: i.ID}, i.Version, id.Short())
	}
	return ""
}

// Explain describes the state of a dataset on an instance. It returns an empty text for a state that needs no description.
func Explain(i Instance, now time.Time) string {
	since := func(t time.Time) string { return round(max(0, now.Sub(t))).String() }
	switch i.State {
	case fleet.Failing:
		return fmt.Sprintf("failing for %s on version %d, newest known %d: %s", since(i.Since), i.Version, i.Newest, i.Error)
	case fleet.Quarantined, fleet.Diverged:
		return fmt.Sprintf("%s for %s: %s", i.State, since(i.Since), i.Warning)
	case fleet.Blind:
		if i.Confirmed.IsZero() {
			return fmt.Sprintf("blind: no beacon has confirmed yet that version %d is the newest", i.Version)
		}
		return fmt.Sprintf("blind: no beacon has confirmed for %s that version %d is the newest", since(i.Confirmed), i.Version)
	case fleet.Pinned:
		return pinned(i)
	case fleet.Refreshing, fleet.Lagging:
		if i.Pin != nil {
			return fmt.Sprintf("%s for %s, %s", i.State, round(max(0, behind(i, now))), pinned(i))
		}
		return fmt.Sprintf("%s for %s: version %d is served, %d is known", i.State, round(max(0, behind(i, now))), i.Version, i.Newest)
	case fleet.Deleted:
		return explainDeletion(i)
	case fleet.Overdue:
		return fmt.Sprintf("overdue: version %d is %s old, and a newer one is promised every %s", i.Version, since(i.Created), i.ExpectEvery)
	}
	return ""
}

// explainDeletion says who deleted the dataset, and what the instance answers from.
func explainDeletion(i Instance) string {
	switch d := i.Deleted; {
	case d == nil:
		return ""
	case d.Serves.Version == 0:
		return fmt.Sprintf("%s; the instance has no table", d)
	case d.Dropped:
		return fmt.Sprintf("%s; the table was dropped", d)
	default:
		return fmt.Sprintf("%s; version %d answers", d, d.Serves.Version)
	}
}

// pinned describes the pin of an instance.
func pinned(i Instance) string {
	text := fmt.Sprintf("pinned to version %d by %s until it is unpinned, newest known %d", i.Pin.Version, cmp.Or(i.Pin.By, "someone unnamed"), i.Newest)
	if i.State != fleet.Pinned && i.Version == i.Pin.Version {
		text = fmt.Sprintf("pinned to version %d by %s, since longer than its FRESHET_PIN_FOR, newest known %d", i.Pin.Version, cmp.Or(i.Pin.By, "someone unnamed"), i.Newest)
	}
	if i.Pin.Reason != "" {
		text += ": " + i.Pin.Reason
	}
	return text
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
