package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/store"
)

// missedTimeouts is how many timeouts an Announce takes at most to bring earlier versions.
const missedTimeouts = 12

// Config configures Followers.
type Config struct {
	Timeout time.Duration // of each call to a follower
	Log     *slog.Logger
}

// Followers are the followers of one store.
type Followers struct {
	Log     *Target // nil if there is no event log
	Catalog *Target // nil if there is no catalog

	store store.Store
	log   *slog.Logger
}

// New returns the followers of st. The log and the catalog may be nil.
func New(cfg Config, st store.Store, records *versions.Records, log EventLog, catalog Catalog) *Followers {
	f := &Followers{store: st, log: cfg.Log}
	replaced := &replaced{}
	target := func(to follower) *Target {
		return &Target{follower: to, store: st, records: records, timeout: cfg.Timeout, replaced: replaced}
	}
	if log != nil {
		f.Log = target(eventLog{log})
		f.Log.what, f.Log.done, f.Log.most = Announce, "announced to the event log", maxAnnounced
	}
	if catalog != nil {
		f.Catalog = target(index{catalog})
		f.Catalog.what, f.Catalog.done, f.Catalog.most = Index, "indexed in the catalog", maxIndexed
	}
	return f
}

// Target brings one follower up to date.
type Target struct {
	follower
	what     string // Announce or Index
	done     string // what add has done, for warnings
	most     uint64 // of the versions that the follower lacks, how many are brought
	store    store.Store
	records  *versions.Records
	timeout  time.Duration
	replaced *replaced
}

// Outcome is the result of an Announce.
type Outcome struct {
	Done     bool // the follower has the version
	Conflict bool // another store, or another copy of this one, is in use
	Warnings []string
}

// Announce brings rec, which is committed, and the earlier versions that the follower lacks. As long as these are not known, rec would
// leave a gap that no later version closes. If the follower's last version is not in the store's history, rec replaces it.
func (t *Target) Announce(ctx context.Context, rec dataset.VersionRecord) (o Outcome) {
	last, own, err := t.lastBefore(ctx, rec)
	unreadable := errors.Is(err, errUnreadable)
	if unreadable {
		err = nil // the versions before an entry that cannot be read are not known
	}
	if err == nil && !unreadable && own && last.Version+1 < rec.Version {
		err = t.announceMissed(ctx, rec, last.Version, &o)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		defer cancel()
		if own {
			_, err = t.add(ctx, rec)
		} else if err = t.replaceBy(ctx, rec, last, rec.StoreID); err == nil {
			o.Warnings = append(o.Warnings, fmt.Sprintf("version %d (id %s) of dataset %q is not in this store's history; version %s was %s in its place",
				last.Version, last.VersionID().Short(), rec.Dataset, rec.Ref(), t.done))
		}
	}
	o.Done = err == nil
	if err != nil {
		conflict := errors.Is(err, events.ErrConflict) || errors.Is(err, catalog.ErrConflict)
		o.Conflict = conflict
		warning := fmt.Sprintf("version %s is committed but was not %s: %v", rec.ID(), t.done, err)
		if !conflict && !errors.Is(err, events.ErrStream) && !events.OnlyThisVersion(err) { // an operator has to fix these
			warning += "; the publisher service completes it automatically, as does publishing again"
		}
		o.Warnings = append(o.Warnings, warning)
	}
	return o
}

// lastBefore returns the follower's last version of the dataset of rec, and whether it is in the store's history.
func (t *Target) lastBefore(ctx context.Context, rec dataset.VersionRecord) (last dataset.VersionRecord, own bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	last, err = t.last(ctx, rec.Dataset)
	if err != nil || last.Version == 0 {
		return last, true, err
	}
	// It nearly always is the version before, which the record names, so that no read of the store is needed.
	if id := last.VersionID(); id == rec.Previous || id == rec.VersionID() {
		return last, true, nil
	}
	own, err = t.records.Contains(ctx, last)
	return last, own, err
}

// announceMissed brings the versions between after and rec, the last most of them. It skips versions that can never be brought, with a
// warning, so that such a version does not block all later ones. It returns an error if rec must not be brought.
func (t *Target) announceMissed(ctx context.Context, rec dataset.VersionRecord, after uint64, o *Outcome) error {
	ctx, cancel := context.WithTimeout(ctx, missedTimeouts*t.timeout)
	defer cancel()
	from := max(after+1, rec.Version-min(t.most, rec.Version-1))
	if from == rec.Version {
		return nil
	}
	// The range ends with rec, which is readable: a damaged record is skipped unless it is the last of its range.
	skipped, err := t.addEach(ctx, rec.Dataset, from, rec.Version, rec.Version, func(dataset.VersionRecord) {})
	for _, one := range skipped {
		o.Warnings = append(o.Warnings, fmt.Sprintf("an earlier version of dataset %q was not %s and is left out: %v", rec.Dataset, t.done, one))
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("versions of dataset %q between %d and %d were not all %s: %w", rec.Dataset, after, rec.Version, t.done, err)
	if t.what == Announce {
		return err // no earlier version is announced after a later one
	}
	o.Warnings = append(o.Warnings, err.Error())
	return nil
}

// addEach adds the versions from one number to the other except one, in order, and calls added for those that were new. It skips
// versions that can never be added, and returns their errors.
func (t *Target) addEach(ctx context.Context, name string, from, to, except uint64, added func(dataset.VersionRecord)) (skipped []error, err error) {
	err = t.records.Each(ctx, name, from, to, func(rec dataset.VersionRecord) error {
		if rec.Version == except {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		defer cancel()
		isNew, err := t.add(ctx, rec)
		switch {
		case events.OnlyThisVersion(err):
			skipped = append(skipped, err)
			return nil
		case err == nil && isNew:
			added(rec)
		}
		return err
	})
	return skipped, err
}

// replaceBy puts rec in the place of over, which is not in the history of the store with the given id.
func (t *Target) replaceBy(ctx context.Context, rec, over dataset.VersionRecord, id dataset.StoreID) error {
	if err := t.replaced.allow(t.what, over, id, rec.Ref()); err != nil {
		return err
	}
	if err := t.replace(ctx, rec, over); err != nil {
		return err
	}
	t.replaced.done(t.what, over, id)
	return nil
}
