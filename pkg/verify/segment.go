package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
	"github.com/sourcegraph/conc/pool"
)

// maxReaders is how many deltas are read at a time: a bucket takes some ten milliseconds to answer for each.
const maxReaders = 8

// check checks the objects of a segment: the snapshots of its first version, and the deltas to the others. All but the last version can be
// judged then, whose snapshot belongs to the next segment; the last one too if last is true.
func (w *walk) check(ctx context.Context, segment []*facts, last bool) error {
	base, rest := segment[0], segment[1:]
	if err := w.copyDeltas(ctx, rest); err != nil {
		return err
	}
	defer func() {
		for _, f := range rest {
			if f.path != "" {
				_ = os.Remove(f.path) // the folder is removed at the end
				f.path = ""
			}
		}
	}()
	done, err := w.prove(ctx, base, rest)
	if err != nil {
		return err
	}
	for i := done; i < len(rest); i++ {
		before := base
		if i > 0 {
			before = rest[i-1]
		}
		if err := w.decode(ctx, before, rest[i]); err != nil {
			return err
		}
	}
	for i, f := range rest {
		if before := segment[i].source; f.delta.Version > 0 && f.fault == nil {
			f.source = before
		}
		f.checked = true
	}
	judged := segment
	if !last {
		judged = segment[:len(segment)-1]
	}
	for _, f := range judged {
		if err := w.judge(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// copyDeltas copies the deltas to the versions into temporary files, and verifies them.
func (w *walk) copyDeltas(ctx context.Context, of []*facts) error {
	errs := make([]error, len(of))
	readers := pool.New().WithMaxGoroutines(maxReaders)
	for i, f := range of {
		if f.delta.Version == 0 || w.byObject[f.delta.Digest] != nil {
			continue
		}
		readers.Go(func() { f.path, errs[i] = w.copy(ctx, f.delta) })
	}
	readers.Wait()
	for i, f := range of {
		switch {
		case f.delta.Version == 0:
		case w.byObject[f.delta.Digest] != nil: // also if an earlier version has the same delta
			f.fault = w.byObject[f.delta.Digest]
			f.path = ""
		case errs[i] != nil:
			bad, err := w.lost(ctx, KindDelta, f.delta, errs[i])
			if err != nil {
				return err
			}
			f.fault = bad
		default:
			w.note(f.delta)
		}
	}
	return nil
}

// copy copies an object into a temporary file and returns its path. It reads an object that looks damaged again.
func (w *walk) copy(ctx context.Context, o dataset.Object) (path string, err error) {
	path = w.folder.Path("delta-" + strconv.FormatUint(o.Version, 10))
	if err = w.copyOnce(ctx, o, path); err == nil {
		return path, nil
	}
	if err := w.history.Objects.Verify(ctx, o); err != nil {
		return "", err
	}
	if err := w.copyOnce(ctx, o, path); err != nil {
		return "", err // a path stands for a whole copy
	}
	return path, nil
}

func (w *walk) copyOnce(ctx context.Context, o dataset.Object, path string) (err error) {
	body, err := w.store.OpenObject(ctx, o.Digest, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.Create(path)
	if err != nil {
		return &localError{err}
	}
	defer func() {
		if failed := f.Close(); failed != nil && err == nil {
			err = &localError{failed}
		}
	}()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(body, o.Bytes+1))
	if at, ok := errors.AsType[*fs.PathError](err); ok && at.Path == path {
		return &localError{err}
	}
	if err != nil {
		return err
	}
	if got := dataset.Digest(sum.Sum(nil)); n != o.Bytes || got != o.Digest {
		return fmt.Errorf("object %s: %w at %s: it has %d bytes with the digest %s", o.Digest, store.ErrDamaged, w.store.ObjectPlace(o.Digest), n, got)
	}
	return nil
}

// prove proves the states of base and of the versions after it, up to the first whose delta is not whole, and returns how many of those it
// has read. It checks every snapshot of base.
func (w *walk) prove(ctx context.Context, base *facts, rest []*facts) (done int, err error) {
	chain := 0 // the deltas that lead on from the snapshot
	for chain < len(rest) && rest[chain].path != "" {
		chain++
	}
	var candidates []dataset.Object
	if base.read && base.snapshot.Version == base.version {
		candidates = append(candidates, base.snapshot)
	}
	if o, ok := w.compacted(ctx, base); ok && (len(candidates) == 0 || o.Digest != candidates[0].Digest) {
		candidates = append(candidates, o)
	}
	proven := false
	for _, o := range candidates {
		if !w.seeded {
			break // no record has been read that names the order of the file
		}
		if proven || w.byObject[o.Digest] != nil {
			if err := w.checkSnapshot(ctx, o, base); err != nil {
				return 0, err
			}
			continue
		}
		n, whole, err := w.apply(ctx, base, o, rest[:chain])
		if err != nil {
			return 0, err
		}
		if whole {
			proven, done, base.source = true, n, base.version
		}
	}
	return done, nil
}

// apply applies the deltas to the versions, one after the other, to the snapshot o of base, and compares the result with each version's
// record. It returns how many deltas it applied. It is not whole if the snapshot is not.
func (w *walk) apply(ctx context.Context, base *facts, o dataset.Object, to []*facts) (done int, whole bool, err error) {
	for tries := 0; ; {
		p, err := w.open(ctx, w.seedOf(base), o, to)
		if err == nil {
			err = p.run(ctx, w.seedOf(base))
		}
		if err == nil {
			w.note(o)
			w.compare(base, to, p)
			return len(to), true, p.Close()
		}
		_ = p.Close() // only read
		if ctx.Err() != nil {
			return 0, false, context.Cause(ctx)
		}
		if bad, ok := errors.AsType[*deltaError](err); ok && versions.IsLost(bad.err) {
			// The file has the right digest: what the publisher wrote is no delta that can be applied.
			to[bad.number].fault = w.malformed(to[bad.number].delta, bad.err)
			to = to[:bad.number]
			continue
		}
		if lost := w.history.Objects.Verify(ctx, o); lost != nil {
			_, err := w.lost(ctx, KindSnapshot, o, lost)
			return 0, false, err
		}
		tries++
		switch { // the first failure may have been one of the transport
		case tries == 1:
		case versions.IsLost(err):
			w.malformed(o, err)
			return 0, false, nil
		default:
			_, err := w.lost(ctx, KindSnapshot, o, err)
			return 0, false, err
		}
	}
}

// malformed records that an object has the right digest and cannot be used.
func (w *walk) malformed(o dataset.Object, err error) *fault {
	w.note(o)
	return w.blame(KindState, o, fmt.Sprintf("the object of version %d has the right digest and cannot be used: %v", o.Version, err))
}

// checkSnapshot reads a snapshot of the version of f on its own. f may be nil.
func (w *walk) checkSnapshot(ctx context.Context, o dataset.Object, f *facts) error {
	if w.whole.Contains(o.Digest) || w.byObject[o.Digest] != nil {
		return nil
	}
	of := facts{version: o.Version}
	if f != nil {
		of = *f
	}
	_, whole, err := w.apply(ctx, &of, o, nil)
	if whole && f != nil {
		f.source = f.version
	}
	return err
}

// decode reads the delta to the version of f on its own, because no snapshot leads to it.
func (w *walk) decode(ctx context.Context, before, f *facts) error {
	if f.path == "" || f.fault != nil {
		return nil
	}
	p, err := w.open(ctx, w.seedOf(f), dataset.Object{}, []*facts{f})
	if err == nil {
		_, err = replay(ctx, w.seedOf(f), func(func(dataset.Record, error) bool) {}, p.sequences())
	}
	defer p.Close() //nolint:errcheck // only read
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case versions.IsLost(err):
		f.fault = w.malformed(f.delta, err)
	case err != nil:
		return fmt.Errorf("verify dataset %q: %w", w.name, err)
	default:
		w.compareFooter(before, f, p.deltas[0].Totals())
	}
	return nil
}

// compare compares what a replay made with the records of base and of the versions after it.
func (w *walk) compare(base *facts, to []*facts, p *play) {
	var bad *fault // of the version before
	sum := tally{p.base.Totals().State, p.base.Totals().PayloadBytes}
	check := func(f *facts) {
		if !f.read || sum == (tally{f.state, f.payload}) {
			bad = nil
			return
		}
		if bad == nil {
			bad = w.badState(f.version, fmt.Sprintf("the objects of version %d make the state %v and %d bytes, its record says %v and %d",
				f.version, sum.state, sum.payload, f.state, f.payload))
		}
		bad.lost = extend(bad.lost, f.version)
	}
	check(base)
	before := base
	for i, f := range to {
		sum.add(p.changes[i])
		check(f)
		if bad == nil {
			w.compareFooter(before, f, p.deltas[i].Totals())
		}
		before = f
	}
}

// compareFooter compares the states that a delta names with the records of its two versions.
func (w *walk) compareFooter(before, f *facts, t snapshot.Totals) {
	switch {
	case before.read && t.Base != before.state:
		w.badState(f.version, fmt.Sprintf("the delta of version %d applies to the state %v, and version %d has the state %v", f.version, t.Base, before.version, before.state))
	case f.read && t.State != f.state:
		w.badState(f.version, fmt.Sprintf("the delta of version %d leads to the state %v, and its record says %v", f.version, t.State, f.state))
	}
}

func (w *walk) badState(version uint64, problem string) *fault {
	f := &fault{kind: KindState, version: version, place: w.store.RecordPlace(w.name, version), problem: problem}
	w.faults = append(w.faults, f)
	return f
}
