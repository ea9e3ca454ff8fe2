package load

import (
	"context"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/roots"
	"freshet.dev/pkg/table"
)

// held returns the table in memory that has the content of rec, and the changes to it from the served table: the served one, or the root of
// the version that rec, a rollback, restores. ok is false if there is none.
func (l *Loader) held(rec dataset.VersionRecord, served *served) (of roots.Root, by *table.Changes, ok bool) {
	if served == nil {
		return roots.Root{}, nil, false
	}
	content, id := served.Content()
	now := roots.Root{Ref: dataset.Ref{Version: content.Version, ID: id}, Table: served.Value}
	if served.Kept == nil && sameContent(rec, served) || roots.Restores(rec, now) {
		return now, nil, true
	}
	return l.Roots.Find(rec, served.Value)
}

// sameContent reports whether rec is the served version under another id. The state checksum alone is no proof against an
// attacker, so the digests of the snapshot or of the version's own delta must agree, too.
func sameContent(rec dataset.VersionRecord, served *served) bool {
	if served.Record.Version != rec.Version || served.Record.Seed != rec.Seed || served.Record.State != rec.State {
		return false
	}
	was := served.Record
	own, ok := rec.OwnDelta()
	if wasOwn, wasOK := was.OwnDelta(); ok && wasOK && own.Digest == wasOwn.Digest {
		return true
	}
	return rec.Snapshot.Version == rec.Version && was.Snapshot.Version == rec.Version && rec.Snapshot.Digest == was.Snapshot.Digest
}

// adopt returns the table of as the version rec, without a pull. by are the changes to it from the served table; nil for the served table
// itself.
func (l *Loader) adopt(ctx context.Context, rec dataset.VersionRecord, of roots.Root, by *table.Changes, progress func()) loaded {
	a := l.begin(ctx, rec, progress)
	a.mark.adopt(of.Ref.ID)
	t, same := of.Table.As(rec.Version)
	if by == nil {
		by = same
	} else {
		by = by.Then(same)
	}
	v := loaded{Record: rec, Value: t, Difference: by}
	ref := of.Ref
	a.setFinish(&v, func() error { return a.draft.Adopt(ref, rec) }, replaced{same: same})
	return v
}
