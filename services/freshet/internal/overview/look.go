package overview

import (
	"context"
	"errors"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Sources are those that are asked.
type Sources struct {
	// Namespace is that of the instances; empty is the default one.
	Namespace string
	// Latest returns the newest version of every dataset, from the publisher. Beside an error it may return some.
	Latest func(ctx context.Context) (map[string]dataset.VersionRecord, error)
	// Survey asks all instances over NATS, waiting for stall after an answer for another one.
	Survey func(ctx context.Context, stall time.Duration) ([]fleet.Status, error)
	// Records returns the instances' records in Redis; nil if there is no Redis to ask.
	Records func(ctx context.Context) ([]Record, error)
}

const (
	// stall is enough for instances that have nothing else to do, patientStall for those that are busy.
	stall        = 300 * time.Millisecond
	patientStall = time.Second
	// clockSlack is how far the clocks of two machines may be apart.
	clockSlack = time.Second
)

// process tells instances apart, of which two may have one name.
type process struct {
	name, host string
	pid        int
}

func of(s fleet.Status) process { return process{s.Instance, s.Host, s.PID} }

// Look asks all sources about the datasets; about all if only is empty. The publisher is asked before the instances, so
// that what it names is no news to them.
func Look(ctx context.Context, from Sources, only []string) Overview {
	o := Overview{Namespace: from.Namespace, Only: only, Omitted: map[string]int{}}
	latest, err := from.Latest(ctx)
	o.Publisher = err
	all := o.instances(ctx, from)
	for _, h := range all {
		if h.Omitted > 0 {
			o.Omitted[h.Instance] = h.Omitted
		}
	}
	o.Answers = len(all)
	o.Datasets = gather(all, latest, only)
	o.At = time.Now()
	return o
}

// instances returns what is heard of the instances: the answers over NATS, and the records of those that do not answer.
func (o *Overview) instances(ctx context.Context, from Sources) []heard {
	answers, err := from.Survey(ctx, stall)
	o.Instances = err
	if from.Records == nil {
		return merge(answers, nil, false)
	}
	records, err := from.Records(ctx)
	o.Records = err
	if err != nil || !surveyed(o.Instances) {
		return merge(answers, records, false)
	}
	if len(missing(answers, records)) == 0 {
		return merge(answers, nil, true)
	}
	// One may have been busy for a moment, or have ended or begun between the two questions: only who misses both is silent.
	more, err := from.Survey(ctx, patientStall)
	answers, o.Instances = union(more, answers), err
	if !surveyed(err) {
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

// surveyed reports whether a survey with that error has reached the instances, so that who did not answer does not.
func surveyed(err error) bool {
	return err == nil || errors.Is(err, fleet.ErrUnreadable) || errors.Is(err, fleet.ErrNoAnswer)
}

// merge returns the answers and the records of those that did not answer; these are silent if they were asked.
func merge(answers []fleet.Status, records []Record, asked bool) []heard {
	var all []heard
	for _, s := range answers {
		all = append(all, heard{Status: s})
	}
	for _, r := range missing(answers, records) {
		age := r.Age.Seconds()
		all = append(all, heard{Status: r.Status, silent: asked, age: &age})
	}
	return all
}

// missing returns the records of those that are not among the answers. An instance of the same name that was started
// after the record was written has taken the place of the one that wrote it, whatever became of that.
func missing(answers []fleet.Status, records []Record) []Record {
	there, started := map[process]bool{}, map[string]time.Time{}
	for _, s := range answers {
		there[of(s)] = true
		if s.Started.After(started[s.Instance]) {
			started[s.Instance] = s.Started
		}
	}
	var all []Record
	for _, r := range records {
		if !there[of(r.Status)] && !started[r.Instance].Add(clockSlack).After(time.Now().Add(-r.Age)) {
			all = append(all, r)
		}
	}
	return all
}

// union returns the first statuses, and those of the second whose instances are not among them.
func union(first, second []fleet.Status) []fleet.Status {
	there := map[process]bool{}
	for _, s := range first {
		there[of(s)] = true
	}
	for _, s := range second {
		if !there[of(s)] {
			first = append(first, s)
		}
	}
	return first
}
