package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// maxMissed is how many earlier versions a publish announces and indexes after a time in which that did not work, and a
// repair indexes: as many as the catalog keeps. More is a repair of the log, which a publish does not wait for.
const maxMissed = 32

// Announcer tells instances of a version: the event log. If it also has the methods Last and Latest of
// [freshet.dev/pkg/events.Log], versions that were committed and never announced are announced first.
type Announcer interface {
	// Announce may be called again for a version that was announced before, or that an announced one follows.
	Announce(ctx context.Context, rec dataset.VersionRecord) error
}

// Indexer keeps the newest versions of each dataset at hand: the catalog. If it also has the method Newest of
// [freshet.dev/pkg/catalog.Catalog], versions that were committed and never indexed are indexed first.
type Indexer interface {
	// Advance moves forward only and reports whether it moved.
	Advance(ctx context.Context, rec dataset.VersionRecord) (moved bool, err error)
}

// Result says what a Publish did.
type Result struct {
	// Record is the version with the content of the input.
	Record dataset.VersionRecord
	// Created is false if the newest version had this content already, so that no version was created. It is true for
	// equal content where an object of the newest version was lost and could not be put back, and where the promise of a
	// cadence is renewed (Input.ExpectEvery).
	Created bool
	// Announced and Indexed say whether the event log and the catalog have the version now. They are false, too, when
	// the Publisher has none.
	Announced, Indexed bool
	// Warnings say what went wrong after the commit, for people to read, and what the publish found to be lost of the
	// version before and put right. The version exists all the same; a [Repairer] completes what is missing, and so does
	// the next publish of the dataset, of equal content too.
	Warnings []string
}

// tell announces and indexes the version in the result, and says there how that went.
func (p *Publisher) tell(ctx context.Context, result *Result) {
	rec := result.Record
	// gofail: var committed struct{}
	if log := p.deps.Events; log != nil {
		result.Announced = p.step(ctx, result, "announced to the event log", func(ctx context.Context) (uint64, error) {
			l, ok := log.(askedLog)
			if !ok {
				return 0, errNotAsked
			}
			last, err := l.Last(ctx, rec.Dataset)
			if _, ok := errors.AsType[*events.EventError](err); ok {
				err = errNotAsked // what came before an event that cannot be read cannot be told
			}
			return last, err
		}, log.Announce)
	}
	if result.Created {
		p.telling.end(rec)
	}
	// gofail: var announced struct{}
	if index := p.deps.Catalog; index != nil {
		result.Indexed = p.step(ctx, result, "indexed in the catalog", func(ctx context.Context) (uint64, error) {
			l, ok := index.(askedCatalog)
			if !ok {
				return 0, errNotAsked
			}
			newest, err := l.Newest(ctx, []string{rec.Dataset})
			return newest[rec.Dataset], err
		}, func(ctx context.Context, rec dataset.VersionRecord) error {
			_, err := index.Advance(ctx, rec)
			return err
		})
	}
	// gofail: var indexed struct{}
}

// errNotAsked says that it cannot be told what was done before.
var errNotAsked = errors.New("not asked")

// step has do done for the version in the result, after those that newest says it was not done for. Newest returns the
// last version that it was done for; while that is not known, do would leave a gap that nobody looks for behind the newest
// version.
func (p *Publisher) step(ctx context.Context, result *Result, done string, newest func(context.Context) (uint64, error),
	do func(context.Context, dataset.VersionRecord) error,
) bool {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.AnnounceTimeout)
	defer cancel()
	rec := result.Record
	version, err := newest(ctx)
	if err == nil && version+1 < rec.Version {
		if err := p.missed(ctx, rec, version, do); err != nil {
			// The newest version is what instances need; a gap in the history is the lesser harm.
			result.Warnings = append(result.Warnings, fmt.Sprintf("versions of dataset %q between %d and %d were not all %s: %v",
				rec.Dataset, version, rec.Version, done, err))
		}
	}
	if err == nil || errors.Is(err, errNotAsked) {
		err = do(ctx, rec)
	}
	if err != nil {
		warning := fmt.Sprintf("version %s is committed but was not %s: %v", rec.ID(), done, err)
		if !errors.Is(err, events.ErrConflict) && !errors.Is(err, events.ErrStream) { // which somebody has to put right
			warning += "; the publisher service completes it by itself, as does publishing again"
		}
		result.Warnings = append(result.Warnings, warning)
		return false
	}
	return true
}

// missed has do done, in order, for the versions after the given one and before rec.
func (p *Publisher) missed(ctx context.Context, rec dataset.VersionRecord, after uint64, do func(context.Context, dataset.VersionRecord) error) error {
	limit := min(rec.Version-1-after, maxMissed)
	versions, err := p.deps.Store.Versions(ctx, rec.Dataset, rec.Version, int(limit))
	if err != nil {
		return err
	}
	for _, v := range slices.Backward(versions) {
		if err := do(ctx, v); err != nil {
			return err
		}
	}
	return nil
}
