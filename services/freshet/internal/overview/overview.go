// Package overview combines the reports of the publisher, the instances and their records in Redis, and finds what is stale.
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

// Overview is the state of the datasets and instances at one moment.
type Overview struct {
	// Namespace is that of the instances; empty is the default one.
	Namespace string
	At        time.Time
	// Select chose the instances; nil for all. Then Labels has the labels of all instances, chosen or not, each as name=value.
	Select   *fleet.Selection
	Labels   []string
	Datasets []Dataset
	// Only are the names of the requested datasets; empty for all.
	Only []string
	// Known is the number of instances, by their answers or their records, whatever their datasets. Answering is the number of
	// instances that answer over NATS.
	Known, Answering int
	// Publisher, Instances and Records are the errors of the three sources. The overview has what the sources returned with an
	// error, and everything of the other sources.
	Publisher, Instances, Records error
	// Omitted holds, by instance, how many datasets the instance left out because its answer would have been too large.
	Omitted map[string]int

	omitting map[string]bool // by answering instance, whether it left datasets out
}

// Err returns why the overview is incomplete; nil if it is complete.
func (o Overview) Err() error { return errors.Join(o.Instances, o.Publisher, o.Records) }

// Unknown returns the requested datasets that neither the publisher nor an instance has. The result is valid only if the overview
// is complete.
func (o Overview) Unknown() []string {
	var names []string
	for _, d := range o.Datasets {
		if d.Latest == nil && len(d.Instances) == 0 && len(o.Omitted) == 0 && slices.Contains(o.Only, d.Dataset) {
			names = append(names, d.Dataset)
		}
	}
	return names
}

// Unasked returns why a source could not be queried; nil if all could. A survey that reached the instances counts as queried, even
// if no instance answered or an answer is not readable.
func (o Overview) Unasked() error {
	instances := o.Instances
	if Surveyed(instances) {
		instances = nil
	}
	return errors.Join(instances, o.Publisher, o.Records)
}

// Dataset is a dataset in the publisher and in the instances.
type Dataset struct {
	Dataset string `json:"dataset"`
	// Latest is the newest committed version; nil if there is none or the publisher did not report it.
	Latest *dataset.VersionRecord `json:"latest"`
	// Instances are the instances that subscribe to the dataset.
	Instances []Instance `json:"instances"`
	// MaybeOn names, if no instance reports the dataset, the instances that left datasets out of their answers and may have this one.
	MaybeOn []string `json:"maybe_on,omitempty"`
	// RetentionUnset is true if the settings do not say which versions are kept, so that all are.
	RetentionUnset bool `json:"retention_unset,omitempty"`
}

// Retention records the datasets whose retention is not set.
func (o *Overview) Retention(unset []string) {
	for i := range o.Datasets {
		o.Datasets[i].RetentionUnset = slices.Contains(unset, o.Datasets[i].Dataset)
	}
}

// Instance is the status of a dataset in an instance.
type Instance struct {
	Instance string `json:"instance"`
	Host     string `json:"host,omitempty"`
	PID      int    `json:"pid,omitempty"`
	// Labels are the instance's labels; nil for an instance of a release before labels.
	Labels map[string]string `json:"labels,omitempty"`
	// Silent is true if the instance does not answer over NATS. The status is then from the instance's record in Redis.
	Silent bool `json:"silent,omitempty"`
	// RecordAge is the age of that record in seconds; nil if the instance answered. If NATS cannot be reached, the status of every
	// instance is from its record and Silent is false.
	RecordAge *float64 `json:"record_age_seconds,omitempty"`
	// Store is the store that the instance follows. StoreWarning is set if the instance ignores messages of other stores.
	Store        dataset.StoreID `json:"store,omitzero"`
	StoreWarning string          `json:"store_warning,omitempty"`
	fleet.DatasetStatus
}

// Record is the record of an instance in Redis.
type Record struct {
	fleet.Status
	Age time.Duration
}

// report is the status of an instance, from its answer over NATS or from its record in Redis.
type report struct {
	fleet.Status
	silent bool
	age    *float64
}

// gather combines the reports and the newest versions by dataset.
func gather(all []report, latest map[string]dataset.VersionRecord, only []string) []Dataset {
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
	for _, r := range all {
		for _, d := range r.Datasets {
			if wanted(d.Dataset) {
				s := add(d.Dataset)
				s.Instances = append(s.Instances, Instance{
					Instance: r.Instance, Host: r.Host, PID: r.PID, Labels: r.Labels, Silent: r.silent, RecordAge: r.age,
					Store: r.Store, StoreWarning: r.StoreWarning, DatasetStatus: d,
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
