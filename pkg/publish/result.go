package publish

import (
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/commit"
)

// Result is what a Publish did.
type Result struct {
	// Record is the version with the content of the input. In a dry run it is the newest version, the zero record if there is none.
	Record dataset.VersionRecord
	// Created is false if the newest version had this content already, so that no version was created. It is true for equal content
	// if an object of the newest version was lost and could not be put back, and if the promise of a cadence is renewed
	// (Input.ExpectEvery).
	Created bool
	// Repeated is true if an earlier call with the same Input.RequestID created the version. Created is true then, too.
	Repeated bool
	// Announced and Indexed report whether the event log and the catalog have the version now. They are also false if the Publisher
	// has none.
	Announced, Indexed bool
	// LogConflict is true if the version was not announced because the event log holds versions of another store that is in use, or of
	// another copy of this store. A warning names both.
	LogConflict bool
	// Warnings describe what failed after the commit, and which damage this publish repaired. The version exists nevertheless. A
	// repair or the next publish of the dataset, even of equal content, completes what is missing.
	Warnings []string
	// Preview is what the call would have done; nil unless it was a dry run. Created is false then.
	Preview *Preview
}

// Token returns the token of Record, by which a reader asks an instance for at least this version; zero for a dry run.
func (r Result) Token() dataset.Token {
	if r.Preview != nil {
		return dataset.Token{}
	}
	return r.Record.Token()
}

func newResult(made commit.Result) Result {
	return Result{Record: made.Record, Created: made.Created, Repeated: made.Repeated, Warnings: made.Warnings}
}
