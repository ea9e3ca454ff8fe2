package keep

import (
	"time"

	"freshet.dev/pkg/dataset"
)

// Sum counts objects.
type Sum struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (s *Sum) add(bytes int64) {
	s.Objects++
	s.Bytes += bytes
}

// Report is what a run did, or would do.
type Report struct {
	// Time is the time of the run by the store's clock.
	Time   time.Time `json:"time"`
	DryRun bool      `json:"dry_run"`
	// Grace is how long an object that no version needs stays before it is marked, and then before it is removed.
	Grace time.Duration `json:"grace_ns"`
	// Removed are the objects that the run removed, Marked those that it marked for a later run. Spared were marked, and stay because a
	// version, a commit or a reader has come to need them.
	Removed Sum `json:"removed"`
	Marked  Sum `json:"marked"`
	Spared  Sum `json:"spared"`
	// Unneeded are all objects that no kept version needs, those of LeftOvers included, which no version names at all.
	Unneeded  Sum `json:"unneeded"`
	LeftOvers Sum `json:"left_overs"`
	// Waiting says why nothing was removed; empty if nothing prevented that.
	Waiting  []string        `json:"waiting,omitempty"`
	Datasets []DatasetReport `json:"datasets"`
	Warnings []string        `json:"warnings,omitempty"`
}

func (r *Report) wait(why string) {
	if why != "" {
		r.Waiting = append(r.Waiting, why)
	}
}

// DatasetReport is the part of a Report about one dataset.
type DatasetReport struct {
	Dataset string `json:"dataset"`
	// RetentionSet is false if the settings of the dataset do not say what is kept: nothing of it is removed then. Retention is then the
	// default for new datasets, and Free and Frees are what it would free.
	RetentionSet bool              `json:"retention_set"`
	Retention    dataset.Retention `json:"retention"`
	// Newest is the newest version, Kept counts the versions that are kept.
	Newest uint64 `json:"newest"`
	Kept   int    `json:"kept"`
	// Gone are the versions whose objects are removed, GoneNow those among them that this run removed.
	Gone    dataset.VersionRanges `json:"gone,omitempty"`
	GoneNow dataset.VersionRanges `json:"gone_now,omitempty"`
	// Free are the versions that are not kept and still have objects. Frees are the objects that only they need.
	Free  dataset.VersionRanges `json:"free,omitempty"`
	Frees Sum                   `json:"frees"`
}
