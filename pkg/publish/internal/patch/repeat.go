package patch

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/tape"
)

// Differs returns how made, the version that an earlier call with the same request id committed, differs from this patch; "" if it
// does not. The same patch changes nothing in the version that it made. If the objects of made are lost, which a cleaning may remove,
// its records are not compared.
func (p *Patch) Differs(ctx context.Context, made dataset.VersionRecord) (differs string, err error) {
	if err := p.checkSeed(made); err != nil {
		return "", err
	}
	if !p.Base.Matches(dataset.Ref{Version: made.Version - 1, ID: made.Previous}) {
		return fmt.Sprintf("another base than %s", p.Base), nil
	}
	if differs := p.Meta.Differs(made); differs != "" {
		return differs, nil
	}
	p.counts = Counts{Changes: made.Changes}
	counts, changed, err := p.compare(ctx, made)
	switch did := made.Changes; {
	case versions.IsLost(err):
		return "", nil
	case err != nil:
		return "", err
	case changed || counts.Unchanged < did.Added+did.Changed || counts.Missing < did.Removed:
		return "other changes", nil
	default:
		p.counts.Unchanged = counts.Unchanged - did.Added - did.Changed
		p.counts.Missing = counts.Missing - did.Removed
		return "", nil
	}
}

// compare counts what the patch does to the version of rec, and reports whether it changes a record.
func (p *Patch) compare(ctx context.Context, rec dataset.VersionRecord) (_ Counts, changed bool, err error) {
	c, err := p.History.Chains.Shortest(ctx, rec)
	if err != nil {
		return Counts{}, false, err
	}
	changes := tape.New(p.Folder.Path("repeated"))
	defer func() { err = errors.Join(err, changes.Close()) }()
	var e editor
	err = p.History.Chains.Read(ctx, rec, c, func(by versions.Chain) error {
		e = editor{rec: rec, changes: changes}
		return p.edit(ctx, by, &e)
	})
	return e.counts, changes.Entries() > 0, err
}
