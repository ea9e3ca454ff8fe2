// Package load does the bytes-work of a refresh: it pulls what an instance lacks of a version, builds its table, proves
// that it is what the publisher committed, and keeps the files for the next start.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

// ErrMismatch is wrapped when whole, undamaged files make another content than the version record says.
var ErrMismatch = errors.New("the content is not that of the version record")

// maxRefusals is how often in a row a delta may be refused for its content before the snapshot is pulled in its place:
// bytes that a relay damaged once come whole the next time, and cost less than a snapshot.
const maxRefusals = 2

type (
	served = refresh.Served[*table.Table]
	loaded = refresh.Loaded[*table.Table, *table.Changes]
)

// Loader implements [refresh.Loader] for tables.
type Loader struct {
	// Pull asks the relays.
	Pull *pull.Client
	// Cache is the cache folder; nil for none.
	Cache *cachedir.Dir
	// Guard marks versions before they are loaded; nil without a cache folder.
	Guard *bootguard.Guard
	// Table is how tables are loaded; its Version is ignored.
	Table table.Config
	// Shortener keeps what is cached short; nil for never.
	Shortener *Shortener
	// Collector has what was replaced collected; nil for never.
	Collector *Collector

	mu      sync.Mutex
	refused map[string]refusals // by dataset; guarded by mu
	drafts  map[string]int      // under way in the cache folder, by dataset; guarded by mu
}

// refusals counts how often in a row a delta was refused.
type refusals struct {
	delta dataset.Digest
	times int
}

// Load brings in the version rec: by the deltas from what is served if that is fewer bytes, and otherwise by the
// snapshot and the deltas that lead on from it. If the deltas cannot lead to the version, it gives them up for the
// snapshot.
func (l *Loader) Load(ctx context.Context, rec dataset.VersionRecord, served *served, progress func()) (loaded, error) {
	// gofail: var refreshLoad struct{}
	if sameContent(rec, served) {
		return l.adopt(ctx, rec, served, progress), nil
	}
	deltas, ok := bridge(rec, served)
	if ok && l.worn(rec, deltas) {
		ok = false
	}
	var pulled int64
	var gaveUp error
	if ok {
		p := l.begin(ctx, rec, progress)
		v, err := p.deltas(served, deltas)
		if err == nil {
			l.accept(rec.Dataset)
			return v, nil
		}
		p.drop()
		err = fmt.Errorf("bring version %d to %s: %w", served.Record.Version, rec.ID(), err)
		if !l.refuse(rec, err) {
			return loaded{}, err
		}
		pulled, gaveUp = p.bytes, err
	}
	p := l.begin(ctx, rec, progress)
	p.bytes = pulled
	v, err := p.full(served)
	if err != nil {
		p.drop()
		return loaded{}, errors.Join(fmt.Errorf("load version %s: %w", rec.ID(), err), gaveUp)
	}
	l.accept(rec.Dataset)
	v.Pull.GaveUp = gaveUp
	return v, nil
}

// sameContent reports whether rec has the number and the content of what is served, under another id. The state checksum alone
// is no proof against an attacker: the digests of the snapshot or of the version's own delta have to agree, too.
func sameContent(rec dataset.VersionRecord, served *served) bool {
	if served == nil || served.Record.Version != rec.Version || served.Record.Seed != rec.Seed || served.Record.State != rec.State {
		return false
	}
	was := served.Record
	if n, m := len(rec.Deltas), len(was.Deltas); n > 0 && m > 0 && rec.Deltas[n-1].Digest == was.Deltas[m-1].Digest {
		return true
	}
	return rec.Snapshot.Version == rec.Version && was.Snapshot.Version == rec.Version && rec.Snapshot.Digest == was.Snapshot.Digest
}

// adopt makes rec the version of what is served. It pulls nothing.
func (l *Loader) adopt(ctx context.Context, rec dataset.VersionRecord, served *served, progress func()) loaded {
	p := l.begin(ctx, rec, progress)
	base := served.Record
	p.tried = true
	p.mark, p.unguarded = l.Guard.Adopt(base, rec)
	v := loaded{Record: rec, Value: served.Value}
	p.finish(&v, func() error { return p.draft.Extend(base, rec) }, 0, false)
	return v
}

// bridge returns the deltas that lead from what is served to rec, and whether they are fewer bytes than a full load.
func bridge(rec dataset.VersionRecord, served *served) ([]dataset.Object, bool) {
	if served == nil || uint64(rec.Seed) != served.Value.Seed() {
		return nil, false
	}
	from := served.Record.Version
	if from >= rec.Version || rec.Version-from > uint64(len(rec.Deltas)) {
		return nil, false
	}
	deltas := rec.Deltas[uint64(len(rec.Deltas))-(rec.Version-from):]
	if base := deltas[0].From; !base.IsZero() && base != served.ID {
		return nil, false // they lead on from another version with the same number
	}
	return deltas, size(deltas) < size(cachedir.Chain(rec))
}

func size(objects []dataset.Object) (sum int64) {
	for _, o := range objects {
		sum += o.Bytes
	}
	return sum
}

// worn reports whether one of the deltas was refused too often and the snapshot helps: it must not need the same delta.
func (l *Loader) worn(rec dataset.VersionRecord, deltas []dataset.Object) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.refused[rec.Dataset]
	return r.times >= maxRefusals && contains(deltas, r.delta) && !contains(cachedir.Chain(rec), r.delta)
}

func contains(objects []dataset.Object, d dataset.Digest) bool {
	for _, o := range objects {
		if o.Digest == d {
			return true
		}
	}
	return false
}

// refuse takes note of err, for which deltas did not lead to rec, and reports whether to load the snapshot now.
func (l *Loader) refuse(rec dataset.VersionRecord, err error) bool {
	var e *deltaError
	if !errors.As(err, &e) {
		return errors.Is(err, ErrMismatch)
	}
	switch {
	case errors.Is(err, table.ErrBase), errors.Is(err, table.ErrState):
		return true // the digest is proven: another try brings the same
	case errors.Is(err, pull.ErrNotFound):
		return !contains(cachedir.Chain(rec), e.object.Digest)
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
	return r.times >= maxRefusals && !contains(cachedir.Chain(rec), r.delta)
}

// accept forgets refusals: the dataset is past them.
func (l *Loader) accept(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.refused, name)
}

// deltaError is the error of one delta.
type deltaError struct {
	object dataset.Object
	// content is true if the bytes came and are to blame, false if they could not be had.
	content bool
	err     error
}

func (e *deltaError) Error() string {
	return fmt.Sprintf("delta to version %d: %v", e.object.Version, e.err)
}

func (e *deltaError) Unwrap() error { return e.err }

// reader counts what passes, and ends with ctx.
type reader struct {
	ctx      context.Context
	src      io.Reader
	progress func()
	bytes    int64
	err      error // of src, but io.EOF
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

// refused reports whether err is about the content of the files, and not about getting at them.
func refused(err error) bool {
	return errors.Is(err, snapshot.ErrCorrupt) || errors.Is(err, snapshot.ErrFormat) || errors.Is(err, table.ErrKind) ||
		errors.Is(err, table.ErrBase) || errors.Is(err, table.ErrState) || errors.Is(err, ErrMismatch)
}
