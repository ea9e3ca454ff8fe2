package publish

import (
	"context"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/commit"
)

// Preview is what a dry run of Publish, Patch or Rollback says.
type Preview struct {
	// Base is the newest version, with which the input was compared; zero if the dataset has none.
	Base dataset.Ref `json:"base,omitzero"`
	// Creates is true if the version after Base would be created, unless a gate refuses it.
	Creates bool `json:"creates"`
	// Changes are the records that would change.
	Changes dataset.Changes `json:"changes"`
	// Before and After are the sizes of the dataset.
	Before Size `json:"before"`
	After  Size `json:"after"`
	// PullBytes is what an instance with Base would pull.
	PullBytes int64 `json:"pull_bytes"`
	// Refused are the gates that would refuse the version; it would not be committed. Allowed are those that AllowShrink would pass.
	Refused []dataset.GateRefusal `json:"refused,omitempty"`
	Allowed []dataset.GateRefusal `json:"allowed,omitempty"`
}

// Size is the size of a dataset.
type Size struct {
	Records uint64 `json:"records"`
	// PayloadBytes is the sum of the lengths of all keys and values.
	PayloadBytes uint64 `json:"payload_bytes"`
}

func sizeOf(rec dataset.VersionRecord) Size { return Size{rec.State.Records, rec.PayloadBytes} }

// Err returns the [*GateError] that the call would have returned for the dataset, nil if no gate refuses the version.
func (p *Preview) Err(name string) error {
	if len(p.Refused) == 0 {
		return nil
	}
	return &GateError{Dataset: name, Base: p.Base, Refusals: p.Refused}
}

// preview returns the result of a dry run of job.
func preview(ctx context.Context, race *commit.Race, job commit.Job) (Result, error) {
	seen, err := race.Preview(ctx, job)
	if err != nil {
		return Result{}, publicError(race.Dataset(), err)
	}
	p := &Preview{Creates: seen.Create, Before: sizeOf(seen.Newest), After: sizeOf(seen.Newest), Refused: seen.Refused, Allowed: seen.Allowed}
	if seen.Newest.Version > 0 {
		p.Base = seen.Newest.Ref()
	}
	if seen.Create {
		p.Changes, p.After, p.PullBytes = seen.Record.Changes, sizeOf(seen.Record), seen.Record.PullBytes()
	}
	return Result{Record: seen.Newest, Repeated: seen.Repeated, Warnings: seen.Warnings, Preview: p}, nil
}
