package publish

import (
	"context"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/commit"
)

// undo is a rollback or a delete: a version without an input, for which an operator gives a reason.
type undo struct {
	mode      commit.Mode
	verb      string // for errors, such as "delete"
	dataset   string
	requestID string
	dryRun    bool
}

// checkUndo returns an error if who, why and the id of the request cannot be stored.
func checkUndo(name, by, reason, requestID string) error {
	err := dataset.CheckAudit(by, reason)
	if err == nil && requestID != "" {
		err = dataset.CheckRequestID(requestID)
	}
	if err != nil {
		return &InputError{Dataset: name, Problem: err.Error(), Err: err}
	}
	return nil
}

// metaOf returns the metadata of a version without an input.
func (p *Publisher) metaOf(requestID, by, reason string) build.Meta {
	return build.Meta{Source: p.cfg.Source, DefaultSource: true, RequestID: requestID, By: by, Reason: reason}
}

// undo commits the version that a job makes in a folder for its files, and announces it. It passes the gates about fewer records and bytes,
// because it has a reason. The second result of newJob releases the job.
func (p *Publisher) undo(ctx context.Context, u undo, newJob func(*scratch.Folder) (commit.Job, func())) (Result, error) {
	race, err := p.committer.Start(ctx, u.mode, u.dataset, u.requestID)
	if err != nil {
		return Result{}, err
	}
	defer race.Release(ctx)
	race.AllowShrink = true
	folder, err := scratch.New(p.cfg.TempDir)
	if err != nil {
		return Result{}, fmt.Errorf("%s dataset %q: %w", u.verb, u.dataset, err)
	}
	defer folder.Discard(p.cfg.Log, u.dataset)
	job, release := newJob(folder)
	defer release()
	if u.dryRun {
		return preview(ctx, race, job)
	}
	made, err := race.Run(ctx, job)
	if err != nil {
		return Result{}, publicError(u.dataset, err)
	}
	result := newResult(made)
	p.announce(context.WithoutCancel(ctx), &result)
	return result, nil
}
