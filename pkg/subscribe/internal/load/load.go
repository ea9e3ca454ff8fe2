package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/bounds"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/subscribe/internal/roots"
	"freshet.dev/pkg/table"
)

// ErrMismatch is returned when undamaged files do not have the content that the version record states.
var ErrMismatch = errors.New("the content is not that of the version record")

// maxRefusals is how many consecutive refusals of a delta's content make Load pull the snapshot. After the first, the delta is pulled
// again: a relay rarely damages the same bytes twice, and a delta costs less than a snapshot.
const maxRefusals = 2

type (
	served = refresh.Served[*table.Table]
	loaded = refresh.Loaded[*table.Table, *table.Changes]
)

// Loader implements [refresh.Loader] for tables.
type Loader struct {
	// Pull pulls objects from the relays.
	Pull *pull.Client
	// Cache is the cache folder; nil for none.
	Cache *cachedir.Dir
	// Guard marks versions before they are loaded; nil without a cache folder.
	Guard *bootguard.Guard
	// Table configures the tables; its Version is ignored.
	Table table.Config
	// Shortener limits the cached deltas; nil for no limit.
	Shortener *Shortener
	// Collector collects replaced tables; nil leaves that to the runtime.
	Collector *Collector
	// Bounds refuse versions that would not fit; nil refuses none.
	Bounds *bounds.Bounds
	// Roots keeps replaced tables for rollbacks; nil for none.
	Roots *roots.Roots

	mu      sync.Mutex
	refused map[string]refusals // by dataset; guarded by mu
	drafts  map[string]int      // open drafts by dataset; guarded by mu
}

// refusals counts the consecutive refusals of a delta.
type refusals struct {
	delta dataset.Digest
	times int
}

// Load loads the version rec. It pulls nothing if the served table or a root has the content of rec. Otherwise it applies the deltas from
// the served version if they are fewer bytes than the snapshot and the deltas that extend it, and pulls those otherwise. If the deltas from
// the served version cannot lead to rec, Load pulls the snapshot as well. Before a pull it waits for the Collector, see [Collector.wait].
func (l *Loader) Load(ctx context.Context, rec dataset.VersionRecord, served *served, progress func()) (loaded, error) {
	// gofail: var refreshLoad struct{}
	if rec.Deleted {
		return l.deleted(ctx, rec, served, progress)
	}
	if !hasTable(served) {
		served = nil
	}
	if of, by, ok := l.held(rec, served); ok {
		return l.adopt(ctx, rec, of, by, progress), nil
	}
	if served != nil {
		if l.Collector.wait(ctx); ctx.Err() != nil {
			return loaded{}, fmt.Errorf("load version %s: %w", rec.ID(), context.Cause(ctx))
		}
	}
	var pulled int64
	var fallback error
	if deltas, ok := deltasFrom(served, rec); ok && !l.refusedTooOften(rec, deltas) {
		a := l.begin(ctx, rec, progress)
		v, err := a.applyDeltas(served, deltas)
		if err == nil {
			l.forgetRefusals(rec.Dataset)
			return v, nil
		}
		a.drop()
		err = fmt.Errorf("bring version %d to %s: %w", served.Record.Version, rec.ID(), err)
		if !l.snapshotHelps(rec, err) {
			return loaded{}, err
		}
		pulled, fallback = a.bytes, err
	}
	a := l.begin(ctx, rec, progress)
	a.bytes = pulled
	v, err := a.full(served)
	if err != nil {
		a.drop()
		return loaded{}, oneline.Join(fmt.Errorf("load version %s: %w", rec.ID(), err), fallback)
	}
	l.forgetRefusals(rec.Dataset)
	v.Pull.Fallback = fallback
	return v, nil
}

// deltasFrom returns the deltas from the served version to rec. ok is false if rec does not list them, or if a full load is fewer
// bytes.
func deltasFrom(served *served, rec dataset.VersionRecord) (deltas []dataset.Object, ok bool) {
	if served == nil || served.Record.Deleted || uint64(rec.Seed) != served.Value.Seed() {
		return nil, false // a table that a deleted version keeps is not that version's
	}
	deltas = rec.DeltasFrom(served.Record.Version)
	if len(deltas) == 0 {
		return nil, false
	}
	if base := deltas[0].From; !base.IsZero() && base != served.ID {
		return nil, false // they extend another version with the same number
	}
	return deltas, totalBytes(deltas) < totalBytes(rec.Chain())
}

func totalBytes(objects []dataset.Object) (sum int64) {
	for _, o := range objects {
		sum += o.Bytes
	}
	return sum
}

func contains(objects []dataset.Object, d dataset.Digest) bool {
	return slices.ContainsFunc(objects, func(o dataset.Object) bool { return o.Digest == d })
}

// refusedTooOften reports whether one of the deltas was refused maxRefusals times and a full load does not need it.
func (l *Loader) refusedTooOften(rec dataset.VersionRecord, deltas []dataset.Object) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.refused[rec.Dataset]
	return r.times >= maxRefusals && contains(deltas, r.delta) && !contains(rec.Chain(), r.delta)
}

// snapshotHelps reports whether to pull the snapshot of rec now, after the deltas failed with err:
//
//   - The content of a proven delta, or of all deltas together, does not fit: another pull brings the same.
//   - No relay has a delta that a full load does not need.
//   - A delta was refused for its content maxRefusals times, and a full load does not need it. snapshotHelps counts the refusal.
func (l *Loader) snapshotHelps(rec dataset.VersionRecord, err error) bool {
	var e *deltaError
	if !errors.As(err, &e) {
		return errors.Is(err, ErrMismatch)
	}
	switch {
	case errors.Is(err, table.ErrBase), errors.Is(err, table.ErrState):
		return true
	case errors.Is(err, pull.ErrNotFound):
		return !contains(rec.Chain(), e.object.Digest)
	case !e.content:
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.refused[rec.Dataset]
	if r.delta != e.object.Digest {
		r = refusals{delta: e.object.Digest}
	}
	r.times++
	if l.refused == nil {
		l.refused = make(map[string]refusals)
	}
	l.refused[rec.Dataset] = r
	return r.times >= maxRefusals && !contains(rec.Chain(), r.delta)
}

// forgetRefusals forgets the refusals of the dataset's deltas after a success.
func (l *Loader) forgetRefusals(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.refused, name)
}

// deltaError is the error of one delta.
type deltaError struct {
	object dataset.Object
	// content is true if the bytes arrived and are wrong, and false if they did not arrive.
	content bool
	err     error
}

func (e *deltaError) Error() string {
	return fmt.Sprintf("delta to version %d: %v", e.object.Version, e.err)
}

func (e *deltaError) Unwrap() error { return e.err }

// reader counts bytes, reports progress, and fails after the end of ctx.
type reader struct {
	ctx      context.Context
	src      io.Reader
	progress func()
	bytes    int64
	err      error // the error of src, except io.EOF
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
		return 0, r.err
	}
	n, err := r.src.Read(p)
	if n > 0 {
		r.bytes += int64(n)
		r.progress()
	}
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// isContentError reports whether err is about the content of files, and not about reading them.
func isContentError(err error) bool {
	return errors.Is(err, snapshot.ErrCorrupt) || errors.Is(err, snapshot.ErrFormat) || errors.Is(err, table.ErrKind) ||
		errors.Is(err, table.ErrBase) || errors.Is(err, table.ErrState) || errors.Is(err, ErrMismatch)
}
