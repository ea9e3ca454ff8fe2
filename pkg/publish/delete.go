package publish

import (
	"context"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/deletion"
)

// DeleteInput says which dataset a Delete deletes, and why.
type DeleteInput struct {
	Dataset string
	// Reason is why, and By is who, such as "user@host"; see Input. Reason is required.
	Reason, By string
	// Drop says that instances drop their tables too: lookups then find nothing. Without it they go on answering from their tables.
	Drop bool
	// RequestID makes a retry safe; see Input.RequestID.
	RequestID string
	// DryRun says what the call would do, in Result.Preview, and changes nothing.
	DryRun bool
}

// CheckDelete returns an error if in cannot be the input of Delete, without reading the store.
func CheckDelete(in DeleteInput) error {
	refuse := func(problem, hint string, err error) error {
		return &InputError{Dataset: in.Dataset, Problem: problem, Hint: hint, Err: err}
	}
	if err := dataset.CheckName(in.Dataset); err != nil {
		return refuse(err.Error(), "", err)
	}
	if in.Reason == "" {
		return refuse("a delete needs a reason", "say why with --reason TEXT (reason over HTTP, Reason in Go)", nil)
	}
	return checkUndo(in.Dataset, in.By, in.Reason, in.RequestID)
}

// Delete makes a new version of the dataset that has no records and says that the dataset is deleted (VersionRecord.Deleted). No earlier
// version changes: Rollback brings the content of one back for as long as the store keeps its objects, and Publish goes on with the next
// number. If the newest version deletes the dataset already, no version is created, unless in.Drop is set and that version does not drop
// the tables.
//
// Instances of releases up to v0.3 do not know deleted versions: they would serve an empty table. Delete does not know which instances
// there are. Survey them before with [fleet.Lacking], as the publisher service does.
//
// The gates hold as for Publish, except those about fewer records and bytes: a delete has a reason. Delete returns the errors of Publish
// that are not about the input, and [ErrNoVersion] if the dataset has no version.
func (p *Publisher) Delete(ctx context.Context, in DeleteInput) (Result, error) {
	if err := CheckDelete(in); err != nil {
		return Result{}, err
	}
	return p.undo(ctx, undo{commit.Delete, "delete", in.Dataset, in.RequestID, in.DryRun}, func(folder *scratch.Folder) (commit.Job, func()) {
		return &deletion.Deletion{
			History: p.history, Folder: folder, Dataset: in.Dataset, Drop: in.Drop, Meta: p.metaOf(in.RequestID, in.By, in.Reason),
		}, func() {}
	})
}
