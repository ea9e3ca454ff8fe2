package build

import (
	"maps"
	"time"

	"freshet.dev/pkg/dataset"
)

// Meta is what a publisher adds to the records of a version.
type Meta struct {
	Source string
	// DefaultSource is set if the caller gave no Source.
	DefaultSource bool
	Labels        map[string]string
	ExpectEvery   *time.Duration // nil keeps the promise of the version before
	RequestID     string
	By, Reason    string
	Restores      dataset.Ref // of a rollback
}

// Describe sets what m adds to rec, the version after before.
func (m Meta) Describe(rec *dataset.VersionRecord, before dataset.VersionRecord) {
	rec.Source, rec.Labels, rec.RequestID = m.Source, m.Labels, m.RequestID
	rec.By, rec.Reason, rec.Restores = m.By, m.Reason, m.Restores
	rec.ExpectEvery = m.Promise(before)
}

// Promise returns the cadence that the version after before promises.
func (m Meta) Promise(before dataset.VersionRecord) time.Duration {
	if m.ExpectEvery != nil {
		return *m.ExpectEvery
	}
	return before.ExpectEvery
}

// Differs returns in what rec differs from m; "" if in nothing. A default source does not count, because another publisher may
// carry out the repetition.
func (m Meta) Differs(rec dataset.VersionRecord) string {
	switch {
	case !maps.Equal(rec.Labels, m.Labels):
		return "other labels"
	case !m.DefaultSource && rec.Source != m.Source:
		return "another source"
	case m.ExpectEvery != nil && rec.ExpectEvery != *m.ExpectEvery:
		return "another promise"
	case rec.Restores.Version != m.Restores.Version:
		return "another restored version"
	}
	return ""
}
