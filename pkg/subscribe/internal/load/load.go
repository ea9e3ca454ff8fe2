// Package load does the bytes-work of a refresh: it pulls a version, builds its table while the bytes come in, proves
// that it is what the publisher committed, and keeps the files for the next start.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

var (
	// ErrMismatch is wrapped when whole, undamaged files make another content than the version record says.
	ErrMismatch = errors.New("the content is not that of the version record")
	// ErrDeltas is wrapped when a version can only be had by deltas, which this release does not apply.
	ErrDeltas = errors.New("the version needs deltas, which this release does not apply; update the instance")
)

// collectBytes is the size of a table from which on its replacement by a full load is followed by one garbage
// collection. Until the next collection the replaced table counts as live to the collector's pacing, so that the heap
// would grow to some twice both. Collected at once, it is the memory that the next load is built in; at 10 M records
// that halves the peak. Below this size it is not worth a collection of the whole process's heap.
const collectBytes = 64 << 20

// Loader implements [refresh.Loader] for tables.
type Loader struct {
	// Pull asks the relays.
	Pull *pull.Client
	// Cache is the cache folder; nil for none.
	Cache *cachedir.Dir
	// Table is how tables are loaded; its Version is ignored.
	Table table.Config
}

// Stored loads the version in the cache folder. One that is not whole and right is discarded.
func (l *Loader) Stored(ctx context.Context, name string, progress func()) (refresh.Loaded[*table.Table], error) {
	none := refresh.Loaded[*table.Table]{}
	if l.Cache == nil {
		return none, refresh.ErrNone
	}
	rec, t, err := l.stored(ctx, name, progress)
	switch {
	case err == nil:
		return refresh.Loaded[*table.Table]{Record: rec, Value: t}, nil
	case errors.Is(err, cachedir.ErrNone):
		return none, refresh.ErrNone
	case refused(err) || errors.Is(err, cachedir.ErrDamaged):
		if discard := l.Cache.Discard(name); discard != nil {
			return none, fmt.Errorf("%w; and it stays there: %w", err, discard)
		}
		return none, fmt.Errorf("%w; it was discarded", err)
	}
	return none, err
}

func (l *Loader) stored(ctx context.Context, name string, progress func()) (dataset.VersionRecord, *table.Table, error) {
	s, err := l.Cache.Stored(name)
	if err != nil {
		return dataset.VersionRecord{}, nil, err
	}
	defer s.Close()
	if len(s.Objects) != 1 {
		return s.Record, nil, fmt.Errorf("load version %s from the cache folder: %w", s.Record.ID(), ErrDeltas)
	}
	t, err := l.table(ctx, s.Record, &reader{ctx: ctx, src: s.Objects[0], progress: progress})
	if err != nil {
		return s.Record, nil, fmt.Errorf("load version %s from the cache folder: %w", s.Record.ID(), err)
	}
	return s.Record, t, nil
}

// Load pulls the snapshot of rec. Its bytes go to the table and to the cache folder in one pass.
func (l *Loader) Load(
	ctx context.Context, rec dataset.VersionRecord, served *refresh.Served[*table.Table], progress func(),
) (refresh.Loaded[*table.Table], error) {
	none := refresh.Loaded[*table.Table]{}
	if len(cachedir.Chain(rec)) != 1 {
		return none, fmt.Errorf("load version %s: %w", rec.ID(), ErrDeltas)
	}
	body, err := l.Pull.Object(ctx, rec.Snapshot)
	if err != nil {
		return none, fmt.Errorf("load version %s: %w", rec.ID(), err)
	}
	defer body.Close()

	src := &reader{ctx: ctx, src: body, progress: progress}
	var all io.Reader = src
	var draft *cachedir.Draft
	if l.Cache != nil {
		draft = l.Cache.Draft(rec.Dataset)
		all = io.TeeReader(src, draft.Object(rec.Snapshot))
	}
	done := false
	defer func() { // also if the table's loader panics
		if draft != nil && !done {
			draft.Drop()
		}
	}()
	t, err := l.table(ctx, rec, all)
	if err != nil {
		if refused(err) && !errors.Is(err, ErrMismatch) { // for a mismatch the relay cannot be to blame: it proved the digest
			body.Refuse()
		}
		return none, fmt.Errorf("load version %s from relay %s: %w", rec.ID(), body.Relay(), err)
	}
	done = true
	collect := served != nil && served.Value.Bytes() >= collectBytes
	return refresh.Loaded[*table.Table]{
		Record: rec, Value: t, PulledBytes: src.bytes,
		Finish: func(swapped bool) error { return finish(swapped, collect, draft, rec) },
	}, nil
}

// finish collects what the swap made garbage and keeps what it put in its place.
func finish(swapped, collect bool, draft *cachedir.Draft, rec dataset.VersionRecord) error {
	if swapped && collect {
		runtime.GC()
	}
	if draft == nil {
		return nil
	}
	defer draft.Drop()
	if !swapped {
		return nil
	}
	return draft.Commit(rec)
}

// table builds the table of the version rec from its snapshot, and proves that it is that version.
func (l *Loader) table(ctx context.Context, rec dataset.VersionRecord, src io.Reader) (*table.Table, error) {
	r, err := snapshot.NewReader(src, snapshot.Expect(rec.Snapshot))
	if err != nil {
		return nil, err
	}
	cfg := l.Table
	cfg.Version = rec.Version
	t, err := table.Load(ctx, r, cfg)
	if err != nil {
		return nil, err
	}
	if t.State() != rec.State {
		return nil, fmt.Errorf("%w: its state checksum is %s, the record says %s", ErrMismatch, t.State(), rec.State)
	}
	if t.Seed() != uint64(rec.Seed) {
		return nil, fmt.Errorf("%w: its seed is %016x, the record says %016x", ErrMismatch, t.Seed(), uint64(rec.Seed))
	}
	return t, nil
}

// refused reports whether err is about the content of the files, and not about getting at them.
func refused(err error) bool {
	return errors.Is(err, snapshot.ErrCorrupt) || errors.Is(err, snapshot.ErrFormat) || errors.Is(err, table.ErrKind) ||
		errors.Is(err, ErrMismatch)
}

// reader counts what passes, and ends with ctx.
type reader struct {
	ctx      context.Context
	src      io.Reader
	progress func()
	bytes    int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.src.Read(p)
	if n > 0 {
		r.bytes += int64(n)
		r.progress()
	}
	return n, err
}
