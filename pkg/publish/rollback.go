package publish

import (
	"context"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/patch"
	"freshet.dev/pkg/publish/internal/rollback"
)

// RollbackInput says which version a Rollback restores, and why.
type RollbackInput struct {
	Dataset string
	// To is the version to restore.
	To uint64
	// ToID is that version's id as text, or at least its first 12 digits; see ParseRef. If it is empty, only the number is compared.
	ToID string
	// Reason is why, and By is who, such as "user@host"; see Input. Reason is required.
	Reason, By string
	// RequestID makes a retry safe; see Input.RequestID.
	RequestID string
	// DryRun says what the call would do, in Result.Preview, and changes nothing.
	DryRun bool
}

func (in RollbackInput) to() patch.Base { return patch.Base{Version: in.To, ID: in.ToID} }

// CheckRollback returns an error if in cannot be the input of Rollback, without reading the store.
func CheckRollback(in RollbackInput) error {
	refuse := func(problem, hint string, err error) error {
		return &InputError{Dataset: in.Dataset, Problem: problem, Hint: hint, Err: err}
	}
	if err := dataset.CheckName(in.Dataset); err != nil {
		return refuse(err.Error(), "", err)
	}
	switch {
	case in.To == 0:
		return refuse("no version is named to roll back to", "name one with --to N (To); `freshet versions "+in.Dataset+"` lists them", nil)
	case in.Reason == "":
		return refuse("a rollback needs a reason", "say why with --reason TEXT (reason over HTTP, Reason in Go)", nil)
	}
	if err := in.to().Check(); err != nil {
		return refuse(fmt.Sprintf("the version to roll back to: %v", err), "", err)
	}
	return checkUndo(in.Dataset, in.By, in.Reason, in.RequestID)
}

// Rollback makes a new version with the content of the version in.To; no earlier version changes. Its cost depends on what changed since,
// not on the size of the dataset: it reverses the deltas since that version. Only if one is missing does it read all records of the version.
// If the newest version has the content already, no version is created.
//
// The gates hold as for Publish, except those about fewer records and bytes: a rollback has a reason. Rollback returns the errors of Publish,
// [ErrNoVersion] if the dataset has no version, [ErrUnknownVersion], [ErrGone], and [ErrLost] if an object of the version to restore is lost.
func (p *Publisher) Rollback(ctx context.Context, in RollbackInput) (Result, error) {
	if err := CheckRollback(in); err != nil {
		return Result{}, err
	}
	result, err := p.undo(ctx, undo{commit.Rollback, "roll back", in.Dataset, in.RequestID, in.DryRun}, func(folder *scratch.Folder) (commit.Job, func()) {
		job := rollback.New(rollback.Deps{
			Store: p.deps.Store, Builder: p.builder, History: p.history, Compactor: p.compactor, Log: p.cfg.Log,
		}, rollback.Spec{
			Dataset: in.Dataset, To: in.to(), Folder: folder, DryRun: in.DryRun, Meta: p.metaOf(in.RequestID, in.By, in.Reason),
		})
		return job, job.Close
	})
	if err == nil && !in.DryRun {
		p.background.compaction.Wake(in.Dataset)
	}
	return result, err
}
