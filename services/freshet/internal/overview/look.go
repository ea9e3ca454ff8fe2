package overview

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Sources are the sources of an overview.
type Sources struct {
	// Namespace is that of the instances; empty is the default one.
	Namespace string
	// Select chooses the instances of the overview; nil chooses all.
	Select *fleet.Selection
	// Latest returns the newest version of every dataset, from the publisher. With an error it may return some of them.
	Latest func(ctx context.Context) (map[string]dataset.VersionRecord, error)
	// Survey queries all instances over NATS. It ends when no answer arrives within stall after the last one.
	Survey func(ctx context.Context, stall time.Duration) ([]fleet.Status, error)
	// Records returns the instances' records in Redis; nil without Redis.
	Records func(ctx context.Context) ([]Record, error)
}

const (
	// stall suffices for idle instances, patientStall for busy ones.
	stall        = 300 * time.Millisecond
	patientStall = time.Second
	// clockSlack is the tolerated difference between the clocks of two machines.
	clockSlack = time.Second
)

// process identifies the process of an instance. Two processes may have the same instance name.
type process struct {
	name, host string
	pid        int
}

func of(s fleet.Status) process { return process{s.Instance, s.Host, s.PID} }

// Look queries all sources about the named datasets, or about all if only is empty. It queries the publisher before the instances,
// so that the instances have had time to learn of the versions that the publisher reports.
func Look(ctx context.Context, from Sources, only []string) Overview {
	o := Overview{Namespace: from.Namespace, Select: from.Select, Only: only, Omitted: map[string]int{}, omitting: map[string]bool{}}
	latest, err := from.Latest(ctx)
	o.Publisher = err
	all := o.choose(o.instances(ctx, from))
	o.Known = len(all)
	for _, r := range all {
		if r.Omitted > 0 {
			o.Omitted[r.Instance] = r.Omitted
		}
		if r.age == nil {
			o.Answering++
			o.omitting[r.Instance] = r.Omitted > 0
		}
	}
	if o.Select != nil && len(only) == 0 { // other datasets are not those of the chosen instances
		latest = maps.Clone(latest)
		maps.DeleteFunc(latest, func(name string, _ dataset.VersionRecord) bool {
			return !slices.ContainsFunc(all, func(r report) bool { _, ok := r.Dataset(name); return ok || r.Omitted > 0 })
		})
	}
	o.Datasets = gather(all, latest, only)
	for i := range o.Datasets {
		if d := &o.Datasets[i]; len(d.Instances) == 0 {
			d.MaybeOn = slices.Sorted(maps.Keys(o.Omitted))
		}
	}
	o.At = time.Now()
	return o
}

// choose returns the reports of the chosen instances, and records the labels of all.
func (o *Overview) choose(all []report) []report {
	if o.Select == nil {
		return all
	}
	for _, r := range all {
		for name, value := range r.Labels {
			o.Labels = append(o.Labels, name+"="+value)
		}
	}
	slices.Sort(o.Labels)
	o.Labels = slices.Compact(o.Labels)
	return slices.DeleteFunc(all, func(r report) bool { return !o.Select.Match(r.Status) })
}

// Fleet returns the instances that answer over NATS, and the records in Redis of those that do not. The second result is nil without
// Redis. With an error of NATS that [Surveyed] accepts, the instances are known. The error of Redis is the last result.
func Fleet(ctx context.Context, from Sources) (answering []fleet.Status, silent []Record, nats, redis error) {
	var o Overview
	for _, r := range o.instances(ctx, from) {
		if r.age == nil {
			answering = append(answering, r.Status)
		} else {
			silent = append(silent, Record{Status: r.Status, Age: time.Duration(*r.age * float64(time.Second))})
		}
	}
	return answering, silent, o.Instances, o.Records
}

// instances returns the answers over NATS, and the records of the instances that do not answer.
func (o *Overview) instances(ctx context.Context, from Sources) []report {
	answers, err := from.Survey(ctx, stall)
	o.Instances = err
	if from.Records == nil {
		return merge(answers, nil, false)
	}
	records, err := from.Records(ctx)
	o.Records = err
	if err != nil || !Surveyed(o.Instances) {
		return merge(answers, records, false)
	}
	if len(Missing(answers, records)) == 0 {
		return merge(answers, nil, true)
	}
	// An instance may have been busy, or have started or stopped between the survey and the read of the records. Only an instance
	// that misses a second survey too is silent.
	more, err := from.Survey(ctx, patientStall)
	answers, o.Instances = union(more, answers), err
	if !Surveyed(err) {
		return merge(answers, records, false)
	}
	if errors.Is(err, fleet.ErrNoAnswer) && len(answers) > 0 {
		o.Instances = nil
	}
	if records, err = from.Records(ctx); err != nil {
		o.Records = err
		return merge(answers, nil, true)
	}
	return merge(answers, records, true)
}

// Surveyed reports whether a survey that returned err reached the instances, so that an instance without an answer is silent.
func Surveyed(err error) bool {
	return err == nil || errors.Is(err, fleet.ErrUnreadable) || errors.Is(err, fleet.ErrNoAnswer)
}

// merge returns the answers and the records of the instances that did not answer. These are silent if a survey reached them.
func merge(answers []fleet.Status, records []Record, surveyed bool) []report {
	var all []report
	for _, s := range answers {
		all = append(all, report{Status: s})
	}
	for _, r := range Missing(answers, records) {
		age := r.Age.Seconds()
		all = append(all, report{Status: r.Status, silent: surveyed, age: &age})
	}
	return all
}

// Missing returns the records of the instances that are not among the answers. It omits the record of an instance that another
// process has replaced: one that answers with the same name and was started after the record was written.
func Missing(answers []fleet.Status, records []Record) []Record {
	answered, started := map[process]bool{}, map[string]time.Time{}
	for _, s := range answers {
		answered[of(s)] = true
		if s.Started.After(started[s.Instance]) {
			started[s.Instance] = s.Started
		}
	}
	var all []Record
	for _, r := range records {
		if !answered[of(r.Status)] && !started[r.Instance].Add(clockSlack).After(time.Now().Add(-r.Age)) {
			all = append(all, r)
		}
	}
	return all
}

// union returns the statuses in first, and those in second whose instances are not in first.
func union(first, second []fleet.Status) []fleet.Status {
	seen := map[process]bool{}
	for _, s := range first {
		seen[of(s)] = true
	}
	for _, s := range second {
		if !seen[of(s)] {
			first = append(first, s)
		}
	}
	return first
}
