package subscribe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/subscribe/internal/lineage"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

var (
	// ErrUnknownDataset is returned when a dataset is not one of [Config].Datasets. The message names the dataset and those that
	// are configured.
	ErrUnknownDataset = errors.New("unknown dataset")
	// ErrNoVersion is returned by lookups before the first version of the dataset is served. A lookup of a key that the served
	// version lacks returns no error.
	ErrNoVersion = errors.New("no version is served yet")
)

// shownNames is the largest number of datasets that an error lists.
const shownNames = 20

// Dataset is the handle of one dataset of a [Subscriber]. Get it once, at start, and keep it: its methods may be called from
// any number of goroutines. After [Subscriber.Close] the last version stays readable.
type Dataset struct {
	s         *Subscriber
	name      string
	current   *atomic.Pointer[served] // the engine's
	first     <-chan struct{}         // closed when the first version is served
	noVersion error                   // names the dataset; made once because lookups return it
	indexes   *indexes                // nil without indexes in Config.Indexes; not changed after Open
	swapped   wake.Broadcast          // for AtLeast, after a version is served
	lineage   *lineage.Lineage

	// The fields below are guarded by Subscriber.mu.
	callbacks []*callback
	followers []*Follower
	refreshes fleet.Refreshes
}

// Dataset returns the handle of a dataset of [Config].Datasets. The error of any other name is an [ErrUnknownDataset].
func (s *Subscriber) Dataset(name string) (*Dataset, error) {
	if d := s.datasets[name]; d != nil {
		return d, nil
	}
	return nil, s.unknown(name)
}

// unknown returns the error for a dataset that is not configured.
func (s *Subscriber) unknown(name string) error {
	names, more := s.cfg.Datasets, ""
	if len(names) > shownNames {
		more = fmt.Sprintf(" and %d more", len(names)-shownNames)
		names = names[:shownNames]
	}
	return fmt.Errorf("%w %.80q; Config.Datasets has %s%s", ErrUnknownDataset, name, strings.Join(names, ", "), more)
}

// newDataset returns the handle of a dataset that the engine has.
func newDataset(s *Subscriber, name string) *Dataset {
	return &Dataset{
		s: s, name: name, current: s.engine.Current(name), first: s.engine.First(name), lineage: s.newLineage(name),
		noVersion: fmt.Errorf("dataset %s: %w", name, ErrNoVersion),
	}
}

// Name returns the dataset's name.
func (d *Dataset) Name() string { return d.name }

// Get returns the value of the record with the key in the version that is served now. Its three results are the three cases:
//
//   - ok is true: value is the record's value, which is not nil even if it is empty.
//   - ok is false and err is nil: the version has no such record.
//   - err is an [ErrNoVersion]: no version is served yet, so nothing is known about the key. It is a [*DeletedError] if the dataset was
//     deleted before. There is no such error after [Dataset.Wait] or [Subscriber.Wait] has returned nil, and there are no other errors.
//
// Get never waits, costs one atomic load more than a lookup in the table, and allocates nothing. Two calls may read two
// versions: for lookups that belong together call [Dataset.Table] once. [table.Table.GetMany] is the fast way to look up many
// keys.
//
// The value must not be modified. The caller may keep the value, also after newer versions are served. A kept value may keep up to about
// 256 KiB of its version in memory; [Dataset.Append] copies the value instead.
func (d *Dataset) Get(key string) (value []byte, ok bool, err error) {
	v := d.current.Load()
	if v == nil {
		return nil, false, d.none()
	}
	value, ok = v.Value.GetString(key)
	return value, ok, nil
}

// Append appends the value of the record with the key to dst and returns the extended slice, which the caller owns. Without
// such a record, or with an error, it returns dst. The other results are those of [Dataset.Get].
func (d *Dataset) Append(dst []byte, key string) (extended []byte, ok bool, err error) {
	value, ok, err := d.Get(key)
	return append(dst, value...), ok, err
}

// Table returns the version that is served now. The result is nil before the first version, and never again after [Dataset.Wait]
// has returned nil. Table never waits and costs one atomic load. A table never changes: call Table once for lookups that belong
// together.
func (d *Dataset) Table() *table.Table {
	if v := d.current.Load(); v != nil {
		return v.Value
	}
	return nil
}

// Version returns the record of the version whose table is served now; ok is false before the first. See also [Dataset.Deleted].
func (d *Dataset) Version() (rec dataset.VersionRecord, ok bool) {
	if v := d.current.Load(); v != nil {
		rec, _ = v.Content()
		return rec, true
	}
	return dataset.VersionRecord{}, false
}

// VersionID returns the id of the version whose table is served now, or zero before the first. A later call of Table may return
// another version.
func (d *Dataset) VersionID() dataset.VersionID {
	if v := d.current.Load(); v != nil {
		_, id := v.Content()
		return id
	}
	return dataset.VersionID{}
}

// Wait returns nil as soon as a version is served. If ctx ends first, the error names the dataset and says why it has no
// version. If the newest version deletes the dataset, the error is a [*DeletedError]; a later call waits for a version after that. After
// [Subscriber.Close] the error is an [ErrClosed].
func (d *Dataset) Wait(ctx context.Context) error { return d.s.wait(ctx, []string{d.name}) }

// Wait returns nil as soon as every dataset has a version. If ctx ends first, the error names the datasets that have none and
// says why. If one was deleted, the error is a [*DeletedError]; see [Dataset.Wait]. After [Subscriber.Close] the error is an [ErrClosed].
func (s *Subscriber) Wait(ctx context.Context) error { return s.wait(ctx, s.cfg.Datasets) }

func (s *Subscriber) wait(ctx context.Context, names []string) error {
	for _, name := range names {
		for waits := true; waits; {
			var err error
			if waits, err = s.waitOnce(ctx, name, names); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitOnce waits until the dataset called name, one of names, has a version, or was deleted; again is true in that case.
func (s *Subscriber) waitOnce(ctx context.Context, name string, names []string) (again bool, err error) {
	first, gone := s.datasets[name].first, s.engine.Gone(name)
	select {
	case <-first:
		return false, nil // even if ctx has ended
	default:
	}
	if err := s.datasets[name].gone(); err != nil {
		return false, fmt.Errorf("wait for the first version: %w", err)
	}
	select {
	case <-first:
		return false, nil
	case <-gone:
		return true, nil
	case <-ctx.Done():
		return false, s.missing(names, context.Cause(ctx))
	case <-s.ctx.Done():
		return false, s.missing(names, ErrClosed)
	}
}

// missing returns the error of a wait for the datasets that ended because of err.
func (s *Subscriber) missing(names []string, err error) error {
	var missing []string
	for _, name := range names {
		if s.datasets[name].current.Load() != nil {
			continue
		}
		why := "no version is known yet"
		deleted, isDeleted := s.datasets[name].Deleted()
		switch h := s.engine.Health(name); {
		case isDeleted:
			why = deleted.DeletedText()
		case h.Quarantined != "":
			why = h.Quarantined
		case h.Err != nil:
			why = fmt.Sprintf("version %d: %v", h.Newest, h.Err)
		case h.Newest > 0:
			why = fmt.Sprintf("version %d is being loaded", h.Newest)
		default:
			if err := s.unreachable(h); err != nil {
				why += ": " + err.Error()
			}
		}
		missing = append(missing, name+" ("+why+")")
	}
	return fmt.Errorf("wait for the first version of %s: %w", strings.Join(missing, ", "), err)
}

// unreachable returns why the instance may not learn of versions; nil if there is no known reason.
func (s *Subscriber) unreachable(h refresh.Health) error {
	if err := s.nc.down(); err != nil {
		return err
	}
	return h.CatchUpErr
}
