// Package overview puts together what the publisher, the instances and their records in Redis say, and tells what of it is
// stale.
package overview

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Overview is what was known at one moment.
type Overview struct {
	// Namespace is that of the instances; empty is the default one.
	Namespace string
	At        time.Time
	Datasets  []Dataset
	// Only are the names of the datasets that were asked for; empty: all.
	Only []string
	// Answers are how many instances are known, whatever their datasets.
	Answers int
	// Publisher, Instances and Records say why one of the three did not say what it should have, or not all of it. What the
	// others said is there all the same.
	Publisher, Instances, Records error
	// Omitted names the instances that left datasets out of their answers, because these became too large, with how many.
	Omitted map[string]int
}

// Err returns what kept the overview from being whole; nil if it is whole.
func (o Overview) Err() error { return errors.Join(o.Instances, o.Publisher, o.Records) }

// Unknown returns the datasets asked for of which neither the publisher nor an instance knows. It is of use only if the overview is
// whole.
func (o Overview) Unknown() []string {
	var names []string
	for _, d := range o.Datasets {
		if d.Latest == nil && len(d.Instances) == 0 && len(o.Omitted) == 0 && slices.Contains(o.Only, d.Dataset) {
			names = append(names, d.Dataset)
		}
	}
	return names
}

// Unasked returns why a part could not be asked at all; nil if all could. Instances that do not answer as they should
// were asked.
func (o Overview) Unasked() error {
	instances := o.Instances
	if surveyed(instances) {
		instances = nil
	}
	return errors.Join(instances, o.Publisher, o.Records)
}

// Dataset is a dataset as the publisher and the instances see it.
type Dataset struct {
	Dataset string `json:"dataset"`
	// Latest is the newest version that is committed; nil if there is none, or the publisher did not say.
	Latest *dataset.VersionRecord `json:"latest"`
	// Instances are those that subscribe to the dataset.
	Instances []Instance `json:"instances"`
}

// Instance is what an instance says of a dataset.
type Instance struct {
	Instance string `json:"instance"`
	Host     string `json:"host,omitempty"`
	PID      int    `json:"pid,omitempty"`
	// Silent is true if the instance does not answer over NATS. What is here is from its record in Redis then, its last word.
	Silent bool `json:"silent,omitempty"`
	// RecordAge is how old that record is, in seconds; nil if the instance answered. When NATS cannot be reached at all every
	// instance is here by its record, and none is called silent.
	RecordAge *float64 `json:"record_age_seconds,omitempty"`
	// Store is the store that the instance follows, and StoreWarning says that it ignores messages of others.
	Store        dataset.StoreID `json:"store,omitzero"`
	StoreWarning string          `json:"store_warning,omitempty"`
	fleet.DatasetStatus
}

// Record is the record of an instance in Redis.
type Record struct {
	fleet.Status
	Age time.Duration
}

// heard is what an instance said, by NATS or in its record.
type heard struct {
	fleet.Status
	silent bool
	age    *float64
}

// gather puts together what was heard and the newest versions, by dataset.
func gather(all []heard, latest map[string]dataset.VersionRecord, only []string) []Dataset {
	byName := map[string]*Dataset{}
	add := func(name string) *Dataset {
		if byName[name] == nil {
			byName[name] = &Dataset{Dataset: name, Instances: []Instance{}}
		}
		return byName[name]
	}
	for _, name := range only {
		add(name)
	}
	wanted := func(name string) bool { return len(only) == 0 || slices.Contains(only, name) }
	for name, rec := range latest {
		if wanted(name) {
			add(name).Latest = &rec
		}
	}
	for _, h := range all {
		for _, d := range h.Datasets {
			if wanted(d.Dataset) {
				s := add(d.Dataset)
				s.Instances = append(s.Instances, Instance{
					Instance: h.Instance, Host: h.Host, PID: h.PID, Silent: h.silent, RecordAge: h.age,
					Store: h.Store, StoreWarning: h.StoreWarning, DatasetStatus: d,
				})
			}
		}
	}
	datasets := make([]Dataset, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		d := byName[name]
		slices.SortStableFunc(d.Instances, func(a, b Instance) int {
			return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Host, b.Host), cmp.Compare(a.PID, b.PID))
		})
		datasets = append(datasets, *d)
	}
	return datasets
}
