package overview

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// now is the time of the tests' overviews; ago is relative to it.
var now = time.Now()

func ago(d time.Duration) time.Time { return now.Add(-d) }

// status returns the status of an instance with one dataset that was started an hour ago.
func status(name string, version uint64) fleet.Status {
	return fleet.Status{Instance: name, Host: "h", PID: 1, Started: ago(time.Hour), Datasets: []fleet.DatasetStatus{
		{Dataset: "prices", Version: version, Newest: version, State: fleet.Fresh},
	}}
}

// script holds the answers of the sources in order. The last answer repeats.
type script struct {
	surveys    [][]fleet.Status
	surveyErrs []error
	records    [][]Record
	recordErr  error
	latest     map[string]dataset.VersionRecord
	asked      []time.Duration
}

// next returns the first of all and removes it, unless it is the last.
func next[T any](all *[]T) (first T) {
	if len(*all) == 0 {
		return first
	}
	first = (*all)[0]
	if len(*all) > 1 {
		*all = (*all)[1:]
	}
	return first
}

func (s *script) sources() Sources {
	from := Sources{
		Latest: func(context.Context) (map[string]dataset.VersionRecord, error) { return s.latest, nil },
		Survey: func(_ context.Context, stall time.Duration) ([]fleet.Status, error) {
			s.asked = append(s.asked, stall)
			return next(&s.surveys), next(&s.surveyErrs)
		},
	}
	if s.records != nil || s.recordErr != nil {
		from.Records = func(context.Context) ([]Record, error) { return next(&s.records), s.recordErr }
	}
	return from
}

// shown returns the instances of prices as "name/pid", with ! after a silent one and ~ after one that is known only by its record.
func shown(o Overview) string {
	var all []string
	for _, d := range o.Datasets {
		for _, i := range d.Instances {
			text := fmt.Sprintf("%s/%d", i.Instance, i.PID)
			switch {
			case i.Silent:
				text += "!"
			case i.RecordAge != nil:
				text += "~"
			}
			all = append(all, text)
		}
	}
	return strings.Join(all, " ")
}

func TestSilentInstances(t *testing.T) {
	a, b := status("a", 7), status("b", 7)
	again := status("b", 7)
	again.PID, again.Started = 2, ago(2*time.Second)
	record := func(s fleet.Status) Record { return Record{s, 12 * time.Second} }
	down := errors.New("connection refused")
	for name, tc := range map[string]struct {
		script script
		want   string
		asked  int
	}{
		"no Redis":                     {script{surveys: [][]fleet.Status{{a}}}, "a/1", 1},
		"all answer":                   {script{surveys: [][]fleet.Status{{a, b}}, records: [][]Record{{record(a), record(b)}}}, "a/1 b/1", 1},
		"one has no record":            {script{surveys: [][]fleet.Status{{a, b}}, records: [][]Record{{record(a)}}}, "a/1 b/1", 1},
		"one is silent":                {script{surveys: [][]fleet.Status{{a}}, records: [][]Record{{record(a), record(b)}}}, "a/1 b/1!", 2},
		"one was busy":                 {script{surveys: [][]fleet.Status{{a}, {a, b}}, records: [][]Record{{record(a), record(b)}}}, "a/1 b/1", 2},
		"the other was busy then":      {script{surveys: [][]fleet.Status{{a}, {b}}, records: [][]Record{{record(a), record(b)}}}, "a/1 b/1", 2},
		"one ended between":            {script{surveys: [][]fleet.Status{{a}}, records: [][]Record{{record(a), record(b)}, {record(a)}}}, "a/1", 2},
		"one was started again":        {script{surveys: [][]fleet.Status{{a, again}}, records: [][]Record{{record(a), record(b)}}}, "a/1 b/2", 1},
		"no answer":                    {script{surveyErrs: []error{fleet.ErrNoAnswer}, records: [][]Record{{record(a)}}}, "a/1!", 2},
		"no answer to the second":      {script{surveys: [][]fleet.Status{{a}, nil}, surveyErrs: []error{nil, fleet.ErrNoAnswer}, records: [][]Record{{record(a), record(b)}}}, "a/1 b/1!", 2},
		"NATS is down":                 {script{surveyErrs: []error{down}, records: [][]Record{{record(a), record(b)}}}, "a/1~ b/1~", 1},
		"NATS is down the second time": {script{surveys: [][]fleet.Status{{a}, nil}, surveyErrs: []error{nil, down}, records: [][]Record{{record(a), record(b)}}}, "a/1 b/1~", 2},
		"Redis is down":                {script{surveys: [][]fleet.Status{{a}}, recordErr: down}, "a/1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			failed := tc.script.recordErr != nil || strings.HasPrefix(name, "NATS is down") || name == "no answer"
			o := Look(t.Context(), tc.script.sources(), nil)
			if got := shown(o); got != tc.want || len(tc.script.asked) != tc.asked {
				t.Errorf("%s after %d surveys, want %s after %d", got, len(tc.script.asked), tc.want, tc.asked)
			}
			if (o.Err() != nil) != failed {
				t.Errorf("the error is %v", o.Err())
			}
		})
	}
}

// TestSelect chooses instances by labels, among answers and records.
func TestSelect(t *testing.T) {
	labelled := func(s fleet.Status, pairs ...string) fleet.Status {
		var err error
		if s.Labels, err = fleet.ParseLabels(pairs); err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b, old := labelled(status("a", 7), "tier=canary", "zone=a"), labelled(status("b", 6), "tier=canary", "zone=b"), status("old", 7)
	gone := labelled(status("gone", 7), "tier=canary")
	other := labelled(fleet.Status{Instance: "other", Datasets: []fleet.DatasetStatus{{Dataset: "rules"}}}, "tier=stable")
	look := func(only []string, pairs ...string) Overview {
		s := script{
			surveys: [][]fleet.Status{{a, b, old, other}}, records: [][]Record{{{gone, time.Second}}},
			latest: map[string]dataset.VersionRecord{"prices": committedAt(7, time.Hour), "rules": {Dataset: "rules", Version: 1}},
		}
		from := s.sources()
		labels, err := fleet.ParseLabels(pairs)
		if err != nil {
			t.Fatal(err)
		}
		from.Select = &fleet.Selection{Labels: labels}
		return Look(t.Context(), from, only)
	}
	for _, tc := range []struct {
		pairs            []string
		want             string
		datasets         int
		known, answering int
	}{
		{[]string{"tier=canary"}, "a/1 b/1 gone/1!", 1, 3, 2},
		{[]string{"tier=canary", "zone=b"}, "b/1", 1, 1, 1},
		{[]string{"tier=stable"}, "other/0", 1, 1, 1},
		{[]string{"tier=none"}, "", 0, 0, 0},
	} {
		o := look(nil, tc.pairs...)
		if got := shown(o); got != tc.want || len(o.Datasets) != tc.datasets || o.Known != tc.known || o.Answering != tc.answering || o.Err() != nil {
			t.Errorf("%q: %q of %d datasets, %d known, %d answer, %v", tc.pairs, got, len(o.Datasets), o.Known, o.Answering, o.Err())
		}
		if diff := cmp.Diff([]string{"tier=canary", "tier=stable", "zone=a", "zone=b"}, o.Labels); diff != "" {
			t.Error(diff)
		}
	}
	o := look([]string{"prices", "rules"}, "zone=b") // requested datasets are shown in any case
	if shown(o) != "b/1" || len(o.Datasets) != 2 || len(o.Unknown()) != 0 {
		t.Errorf("%q of %d datasets, unknown are %q", shown(o), len(o.Datasets), o.Unknown())
	}
	if o.Datasets[0].Instances[0].Labels["tier"] != "canary" {
		t.Errorf("%+v", o.Datasets[0].Instances[0])
	}
	reasons := fmt.Sprint(look([]string{"rules"}, "zone=b").Stale(t.Context(), time.Hour, nil), look(nil, "tier=none").Stale(t.Context(), time.Hour, nil), o.TooFew(2))
	for _, want := range []string{"rules: no instance with zone=b has it", "there is no instance with tier=none", "prices: 1 instance answers with zone=b, want 2"} {
		if !strings.Contains(reasons, want) {
			t.Errorf("the reasons are %s, want %s", reasons, want)
		}
	}
}

// TestFleet returns answers and the records of silent instances.
func TestFleet(t *testing.T) {
	s := script{surveys: [][]fleet.Status{{status("a", 7)}}, records: [][]Record{{{status("a", 7), time.Second}, {status("b", 7), 12 * time.Second}}}}
	answering, silent, nats, redis := Fleet(t.Context(), s.sources())
	if len(answering) != 1 || answering[0].Instance != "a" || len(silent) != 1 || silent[0].Instance != "b" || silent[0].Age != 12*time.Second || nats != nil || redis != nil {
		t.Errorf("%v, %v, %v, %v", answering, silent, nats, redis)
	}
	down := errors.New("connection refused")
	s = script{surveyErrs: []error{down}, recordErr: down}
	if _, _, nats, redis = Fleet(t.Context(), s.sources()); !errors.Is(nats, down) || !errors.Is(redis, down) {
		t.Errorf("%v, %v", nats, redis)
	}
}

// committedAt returns the record of version v, committed d ago.
func committedAt(v uint64, d time.Duration) dataset.VersionRecord {
	return dataset.VersionRecord{Dataset: "prices", Version: v, Created: ago(d)}
}

func TestStale(t *testing.T) {
	const maxLag = 10 * time.Second
	d := func(version uint64, state fleet.State, change func(*fleet.DatasetStatus)) fleet.DatasetStatus {
		s := fleet.DatasetStatus{
			Dataset: "prices", Version: version, Newest: 7, State: state, Since: ago(time.Minute), Created: ago(26 * time.Hour),
			Confirmed: ago(time.Minute), ExpectEvery: 24 * time.Hour,
		}
		if change != nil {
			change(&s)
		}
		return s
	}
	for name, tc := range map[string]struct {
		status fleet.DatasetStatus
		latest dataset.VersionRecord
		want   string // of the reason; empty: there is none
	}{
		"fresh":                               {d(7, fleet.Fresh, nil), committedAt(7, time.Hour), ""},
		"failing":                             {d(6, fleet.Failing, func(s *fleet.DatasetStatus) { s.Error = "no relay answers" }), committedAt(7, time.Second), "failing for 1m0s on version 6, newest known 7: no relay answers"},
		"quarantined":                         {d(6, fleet.Quarantined, func(s *fleet.DatasetStatus) { s.Warning = "version 7 (abc) is quarantined" }), committedAt(7, time.Second), "quarantined for 1m0s: version 7 (abc) is quarantined"},
		"blind":                               {d(7, fleet.Blind, nil), committedAt(7, time.Hour), "blind: no beacon has confirmed for 1m0s that version 7 is the newest"},
		"blind from the start":                {d(7, fleet.Blind, func(s *fleet.DatasetStatus) { s.Confirmed = time.Time{} }), committedAt(7, time.Hour), "blind: no beacon has confirmed yet that version 7"},
		"overdue":                             {d(7, fleet.Overdue, nil), committedAt(7, 26*time.Hour), "overdue: version 7 is 26h0m0s old, and a newer one is promised every 24h0m0s"},
		"refreshing":                          {d(6, fleet.Refreshing, func(s *fleet.DatasetStatus) { s.BehindSince = ago(5 * time.Second) }), committedAt(7, 5*time.Second), ""},
		"refreshing for long":                 {d(6, fleet.Refreshing, func(s *fleet.DatasetStatus) { s.BehindSince = ago(15 * time.Second) }), committedAt(7, 15*time.Second), "refreshing for 15s: version 6 is served, 7 is known"},
		"refreshing of late, behind for long": {d(6, fleet.Refreshing, func(s *fleet.DatasetStatus) { s.Since, s.BehindSince = ago(0), ago(15*time.Second) }), committedAt(7, 15*time.Second), "refreshing for 15s"},
		"lagging":                             {d(6, fleet.Lagging, func(s *fleet.DatasetStatus) { s.BehindSince = ago(5 * time.Second) }), committedAt(7, 5*time.Second), ""},
		"lagging for long":                    {d(6, fleet.Lagging, func(s *fleet.DatasetStatus) { s.BehindSince = ago(time.Minute) }), committedAt(7, time.Minute), "lagging for 1m0s"},
		"waiting, nothing there":              {d(0, fleet.Waiting, nil), dataset.VersionRecord{}, ""},
		"waiting, a version there":            {d(0, fleet.Waiting, nil), committedAt(1, time.Minute), "it reports that there is no version, but version 1 was committed 1m0s ago"},
		"waiting, just committed":             {d(0, fleet.Waiting, nil), committedAt(1, time.Second), ""},
		"fresh on an older version":           {d(6, fleet.Fresh, nil), committedAt(7, time.Minute), "it reports to be fresh on version 6, but version 7 was committed 1m0s ago, and the newest is 7"},
		"just committed":                      {d(6, fleet.Fresh, nil), committedAt(7, time.Second), ""},
		"many, the newest just committed":     {d(4, fleet.Fresh, nil), committedAt(7, time.Second), "but version 5 was committed 2m0s ago, and the newest is 7"},
		"the publisher forgot":                {d(7, fleet.Fresh, nil), dataset.VersionRecord{}, ""},
		"behind by a clock of its own":        {d(6, fleet.Lagging, func(s *fleet.DatasetStatus) { s.BehindSince, s.BehindSeconds = ago(-time.Hour), 60 }), committedAt(7, time.Minute), "lagging for 1m0s"},
		"a view that follows":                 {d(7, fleet.Fresh, func(s *fleet.DatasetStatus) { s.FollowersBehindSeconds = 5 }), committedAt(7, time.Hour), ""},
		"a view that is left behind":          {d(7, fleet.Fresh, func(s *fleet.DatasetStatus) { s.FollowersBehindSeconds, s.Warning = 60, "it panics" }), committedAt(7, time.Hour), "a function or a view of the service has been behind version 7 for 1m0s: it panics"},
		"a state of the future":               {d(7, "wilted", nil), committedAt(7, time.Second), "it is wilted, a state that this freshet does not know"},
	} {
		t.Run(name, func(t *testing.T) {
			s := script{surveys: [][]fleet.Status{{{Instance: "a", Datasets: []fleet.DatasetStatus{tc.status}}}}}
			if tc.latest.Version > 0 {
				s.latest = map[string]dataset.VersionRecord{"prices": tc.latest}
			}
			o := Look(t.Context(), s.sources(), nil)
			o.At = now
			reasons := o.Stale(t.Context(), maxLag, func(_ context.Context, name string, v uint64) (dataset.VersionRecord, error) {
				if name != "prices" || v != 5 {
					return dataset.VersionRecord{}, errors.New("not there")
				}
				return committedAt(5, 2*time.Minute), nil
			})
			if tc.want == "" {
				if len(reasons) > 0 {
					t.Errorf("the reasons are %v", reasons)
				}
				return
			}
			if len(reasons) != 1 || !strings.HasPrefix(reasons[0].String(), "prices: a: ") || !strings.Contains(reasons[0].Why, tc.want) {
				t.Errorf("the reasons are %v, want %s", reasons, tc.want)
			}
		})
	}
}

// An overview without instances, or without their answers, is stale.
func TestStaleWithoutInstances(t *testing.T) {
	a := status("a", 7)
	none := func(context.Context, string, uint64) (dataset.VersionRecord, error) {
		return dataset.VersionRecord{}, errors.New("not there")
	}
	for name, tc := range map[string]struct {
		script script
		only   []string
		want   []string
	}{
		"none":                     {script{}, nil, []string{"there is no instance"}},
		"none has it":              {script{surveys: [][]fleet.Status{{a}}}, []string{"prices", "rules"}, []string{"rules: no instance has it"}},
		"none at all":              {script{}, []string{"rules"}, []string{"rules: no instance has it"}},
		"no answer":                {script{surveyErrs: []error{fleet.ErrNoAnswer}}, nil, []string{fleet.ErrNoAnswer.Error()}},
		"one is not readable":      {script{surveys: [][]fleet.Status{{a}}, surveyErrs: []error{fleet.ErrUnreadable}}, nil, []string{fleet.ErrUnreadable.Error()}},
		"one is silent":            {script{surveys: [][]fleet.Status{{a}}, records: [][]Record{{{status("b", 7), 12 * time.Second}}}}, nil, []string{"prices: b: silent: it does not answer, and its record in Redis is 12s old"}},
		"NATS is down":             {script{surveyErrs: []error{errors.New("refused")}}, []string{"prices"}, nil},
		"unnamed without instance": {script{surveys: [][]fleet.Status{{a}}, latest: map[string]dataset.VersionRecord{"rules": {Version: 1}}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := Look(t.Context(), tc.script.sources(), tc.only)
			var got []string
			for _, r := range o.Stale(t.Context(), time.Minute, none) {
				got = append(got, r.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if down := name == "NATS is down"; (o.Unasked() != nil) != down {
				t.Errorf("unasked is %v", o.Unasked())
			}
		})
	}
}

// A dataset that no instance reports may be on an instance that left datasets out of its answer.
func TestMaybeOn(t *testing.T) {
	a, c := status("a", 7), fleet.Status{Instance: "c", Host: "h", PID: 1, Omitted: 3}
	s := script{surveys: [][]fleet.Status{{a, c}}}
	o := Look(t.Context(), s.sources(), []string{"prices", "rules"})
	got := map[string][]string{}
	for _, d := range o.Datasets {
		got[d.Dataset] = d.MaybeOn
	}
	if diff := cmp.Diff(map[string][]string{"prices": nil, "rules": {"c"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTooFew(t *testing.T) {
	a, b := status("a", 7), status("b", 7)
	c := fleet.Status{Instance: "c", Host: "h", PID: 1, Omitted: 3}
	record := func(s fleet.Status) Record { return Record{s, 12 * time.Second} }
	for name, tc := range map[string]struct {
		script script
		only   []string
		least  int
		want   []string
	}{
		"enough":                        {script{surveys: [][]fleet.Status{{a, b}}}, nil, 2, nil},
		"too few":                       {script{surveys: [][]fleet.Status{{a, b}}}, nil, 3, []string{"2 instances answer, want 3"}},
		"a silent instance is missing":  {script{surveys: [][]fleet.Status{{a}}, records: [][]Record{{record(a), record(b)}}}, nil, 2, []string{"1 instance answers, want 2"}},
		"of a dataset":                  {script{surveys: [][]fleet.Status{{a, b}}}, []string{"prices", "rules"}, 2, []string{"rules: 0 instances answer, want 2"}},
		"of a dataset, one silent":      {script{surveys: [][]fleet.Status{{a}}, records: [][]Record{{record(a), record(b)}}}, []string{"prices"}, 2, []string{"prices: 1 instance answers, want 2"}},
		"an answer leaves datasets out": {script{surveys: [][]fleet.Status{{a, c}}}, []string{"prices"}, 2, nil},
		"no answer":                     {script{surveyErrs: []error{fleet.ErrNoAnswer}}, nil, 1, []string{"0 instances answer, want 1"}},
		"NATS is down":                  {script{surveyErrs: []error{errors.New("refused")}}, nil, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range Look(t.Context(), tc.script.sources(), tc.only).TooFew(tc.least) {
				got = append(got, r.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
