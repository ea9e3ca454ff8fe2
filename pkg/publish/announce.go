package publish

import (
	"context"

	"freshet.dev/pkg/dataset"
)

// EventLog announces versions to instances. [*freshet.dev/pkg/events.Log] implements it.
type EventLog interface {
	// Announce announces rec. It may be called again for a version that was announced before, or that an announced one follows.
	Announce(ctx context.Context, rec dataset.VersionRecord) error
	// Supersede announces rec in the place of over, the last version of the log, which is not in the store's history.
	Supersede(ctx context.Context, rec, over dataset.VersionRecord) error
	// Last returns the last announced version of the dataset; the zero record if there is none.
	Last(ctx context.Context, name string) (dataset.VersionRecord, error)
	// Latest returns the last announced version of each of the datasets that have one.
	Latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error)
	// Ensure creates the log if it is missing.
	Ensure(ctx context.Context) error
}

// Catalog keeps the newest versions of each dataset for queries. [*freshet.dev/pkg/catalog.Catalog] implements it.
type Catalog interface {
	// Advance adds rec if it is newer than the newest version of the catalog, and reports whether it is.
	Advance(ctx context.Context, rec dataset.VersionRecord) (moved bool, err error)
	// Replace puts rec in the place of over, the newest version of the catalog, which is not in the store's history.
	Replace(ctx context.Context, rec dataset.VersionRecord, over dataset.Ref) (moved bool, err error)
	// Newest returns the newest version of each of the datasets that have one.
	Newest(ctx context.Context, names []string) (map[string]dataset.Ref, error)
	// Latest returns the newest version of the dataset; [freshet.dev/pkg/catalog.ErrNotFound] if there is none.
	Latest(ctx context.Context, name string) (dataset.VersionRecord, error)
}

// announce announces and indexes the version in the result, and records there whether that succeeded.
func (p *Publisher) announce(ctx context.Context, result *Result) {
	// gofail: var committed struct{}
	if to := p.followers.Log; to != nil {
		o := to.Announce(ctx, result.Record)
		result.Announced, result.LogConflict = o.Done, o.Conflict
		result.Warnings = append(result.Warnings, o.Warnings...)
	}
	if result.Created && !result.Repeated {
		p.inflight.End(result.Record)
	}
	// gofail: var announced struct{}
	if to := p.followers.Catalog; to != nil {
		o := to.Announce(ctx, result.Record)
		result.Indexed = o.Done
		result.Warnings = append(result.Warnings, o.Warnings...)
	}
	// gofail: var indexed struct{}
}
