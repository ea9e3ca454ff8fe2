package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/follow"
	"freshet.dev/pkg/publish/internal/restore"
	"freshet.dev/pkg/verify"
)

// VerifyInput says what Verify does.
type VerifyInput struct {
	// Datasets are the datasets to verify; none means all.
	Datasets []string
	// Repair says to repair what is found.
	Repair bool
	// By is who asks for the repair, such as "user@host"; it may be empty. A version that the repair publishes keeps it, with a reason.
	By string
	// Found is called for each finding, after its repair, on the goroutine that called Verify. It is required. An error of it ends Verify,
	// which returns the error.
	Found func(verify.Finding) error
}

// Verify reads the store to its end, with every object of the datasets, and reports what is lost or damaged: see package verify. It returns
// an error that wraps [freshet.dev/pkg/store.ErrNotFound] if a dataset has no version. With Repair it repairs what a publisher can:
//
//   - It restores a lost snapshot from another snapshot and the deltas to its version, and a lost delta from two snapshots, if the bytes come
//     out equal. It writes a damaged snapshot record again.
//   - If the newest version still cannot be loaded, but can be read from a compaction's snapshot, it writes a snapshot of that version, and
//     publishes a version with the same content that names it. By and a reason are kept with the version.
//   - It brings the event log and the catalog up to date, as Repair does, and writes a missing store id.
//
// The rest needs a backup, or a publish of all records; the finding says which. Verify may run while others publish, patch and compact.
func (p *Publisher) Verify(ctx context.Context, in VerifyInput) (sum verify.Totals, err error) {
	if err := dataset.CheckAudit(in.By, ""); err != nil {
		return sum, fmt.Errorf("verify: %w", err)
	}
	v, err := verify.New(
		verify.Config{TempDir: p.cfg.TempDir, Timeout: p.cfg.AnnounceTimeout},
		verify.Deps{Store: p.deps.Store, Events: p.deps.Events, Catalog: p.deps.Catalog})
	if err != nil {
		return sum, err
	}
	names, err := v.Names(ctx, in.Datasets)
	if err != nil {
		return sum, err
	}
	var findings []verify.Finding
	collect := func(f verify.Finding) error {
		findings = append(findings, f)
		return nil
	}
	report := func(t verify.Totals, err error, repair func()) error {
		if in.Repair && err == nil && len(findings) > 0 {
			repair()
		}
		sum.Add(t)
		for _, f := range findings {
			if f.Repaired {
				sum.Repaired++
			}
			if err := in.Found(f); err != nil {
				return err
			}
		}
		findings = nil
		return err
	}
	for _, name := range names {
		t, err := v.Dataset(ctx, name, collect)
		if err := report(t, err, func() { p.repairDataset(ctx, name, findings, in.By) }); err != nil {
			return sum, err
		}
	}
	if len(in.Datasets) == 0 {
		t, err := v.Journals(ctx, names, collect)
		if err := report(t, err, func() {}); err != nil { // a journal entry needs a decision or a backup
			return sum, err
		}
	}
	t, err := v.Followers(ctx, names, collect)
	return sum, report(t, err, func() { p.repairFollowers(ctx, findings) })
}

// repairDataset repairs the findings of a dataset, which are in the order of versions: an earlier object may be what restores a later one.
func (p *Publisher) repairDataset(ctx context.Context, name string, findings []verify.Finding, by string) {
	// All lost objects become suspects first, so that no repair reads one.
	for i := range findings {
		if f := &findings[i]; f.Kind == verify.KindSnapshot || f.Kind == verify.KindDelta {
			settle(f, p.history.Objects.Verify(ctx, f.Object) == nil, "another process has repaired it", nil)
		}
	}
	for i := range findings {
		if f := &findings[i]; !f.Repaired && ctx.Err() == nil {
			p.repairFinding(ctx, name, f)
		}
	}
	if ctx.Err() == nil {
		p.standIn(ctx, name, findings, by)
	}
}

func (p *Publisher) repairFinding(ctx context.Context, name string, f *verify.Finding) {
	switch f.Kind {
	case verify.KindSnapshot:
		err := p.restorer.Snapshot(ctx, name, f.Object, len(f.Lost) > 0)
		settle(f, err == nil, "made the snapshot again from other objects", err)
	case verify.KindDelta:
		err := p.restorer.Delta(ctx, name, f.Object)
		settle(f, err == nil, "made the delta again from two snapshots", err)
	case verify.KindSnapshotRecord:
		err := p.restorer.SnapshotRecord(ctx, name, f.Version)
		settle(f, err == nil, "wrote the snapshot record again", err)
	case verify.KindStoreID:
		if f.Version > 0 {
			return // a decision of the operator
		}
		_, err := p.deps.Store.EnsureID(ctx)
		settle(f, err == nil, "wrote the store id that most datasets name", err)
	}
}

// settle records the result of a repair in f.
func settle(f *verify.Finding, repaired bool, what string, err error) {
	switch {
	case repaired:
		f.Repaired, f.Repair = true, what
	case errors.Is(err, restore.ErrOtherBytes):
		f.Repair = "not repaired: " + err.Error()
		f.Remedy = verify.AfterRepair(f.Dataset, f.Remedy)
	case versions.IsLost(err):
		f.Repair = fmt.Sprintf("not repaired: the objects that it could be made from are lost too, or there were none: %v", err)
		f.Remedy = verify.AfterRepair(f.Dataset, f.Remedy)
	case err != nil:
		f.Repair = fmt.Sprintf("not repaired: %v", err)
	}
}

// standIn publishes a version of the same content if the newest version cannot be loaded after all repairs, and can be read.
func (p *Publisher) standIn(ctx context.Context, name string, findings []verify.Finding, by string) {
	rec, err := p.history.Records.Newest(ctx, name)
	if err != nil || rec.Version == 0 || !p.restorer.Lost(rec) {
		return
	}
	made, err := p.publishStandIn(ctx, rec, by)
	for i := range findings {
		f := &findings[i]
		if f.Repaired || !slices.ContainsFunc(f.Lost, func(r verify.Range) bool { return r.First <= rec.Version && rec.Version <= r.Last }) {
			continue
		}
		switch {
		case err != nil && !versions.IsLost(err):
			f.Repair = join(f.Repair, fmt.Sprintf("no version could be published in its place: %v", err))
		case err == nil && !made.Created:
			f.Repair = join(f.Repair, fmt.Sprintf("another publisher has published version %d; verify again", made.Record.Version))
		case err == nil:
			f.Repair = join(f.Repair, fmt.Sprintf("version %d was published in its place: it has the content of version %d, and loads", made.Record.Version, rec.Version))
			f.Remedy = "nothing for the newest version; to read the earlier ones again, put back a copy of " + f.Place + " from a backup"
		}
	}
}

// join returns two texts as one.
func join(text, more string) string {
	if text == "" {
		return more
	}
	return text + "; " + more
}

// publishStandIn publishes a version with the content of the version of rec. It creates none if that is not the newest version any more.
func (p *Publisher) publishStandIn(ctx context.Context, rec dataset.VersionRecord, by string) (Result, error) {
	folder, err := scratch.New(p.cfg.TempDir)
	if err != nil {
		return Result{}, err
	}
	defer folder.Discard(p.cfg.Log, rec.Dataset)
	job, err := p.restorer.StandIn(ctx, rec, folder, by)
	if err != nil {
		return Result{}, err
	}
	race, err := p.committer.Start(ctx, commit.Publish, rec.Dataset, "")
	if err != nil {
		return Result{}, err
	}
	defer race.Release(ctx)
	made, err := race.Run(ctx, job)
	if err != nil {
		return Result{}, err
	}
	result := newResult(made)
	p.announce(context.WithoutCancel(ctx), &result)
	return result, nil
}

// repairFollowers brings the event log and the catalog up to date, and records the results in the findings.
func (p *Publisher) repairFollowers(ctx context.Context, findings []verify.Finding) {
	newest, _, err := p.followers.Newest(ctx) // a dataset that cannot be read has another finding
	if err != nil {
		for i := range findings {
			settle(&findings[i], false, "", err)
		}
		return
	}
	if !slices.ContainsFunc(findings, func(f verify.Finding) bool { return f.Dataset == "" }) {
		maps.DeleteFunc(newest, func(name string, _ dataset.Ref) bool {
			return !slices.ContainsFunc(findings, func(f verify.Finding) bool { return f.Dataset == name })
		})
	}
	repairs := p.followers.Repair(ctx, newest)
	for i := range findings {
		f := &findings[i]
		of, verb := follow.Announce, "announced"
		if f.Kind == verify.KindCatalog {
			of, verb = follow.Index, "indexed"
		}
		what := "another publisher has repaired it"
		var err error
		for _, r := range repairs {
			if r.What != of || r.Dataset != "" && f.Dataset != "" && r.Dataset != f.Dataset {
				continue
			}
			if r.To > 0 {
				what = verb + " " + verify.Range{First: r.From, Last: r.To}.String() + " of " + r.Dataset
			}
			err = oneline.Join(err, r.Err)
		}
		settle(f, err == nil, what, err)
	}
}
