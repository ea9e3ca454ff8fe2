package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
)

// maxUnread is how many objects in a row may be unreadable, for other reasons than their own damage, before a Verifier ends: the store
// does not answer then.
const maxUnread = 3

// walk is the verification of one dataset.
type walk struct {
	*Verifier
	name      string
	newest    uint64 // when the walk began
	folder    *scratch.Folder
	snapshots map[uint64]dataset.SnapshotRecord // of compactions, by version
	gone      dataset.VersionRanges             // the versions whose objects retention has removed

	id      dataset.StoreID // zero if it is not known
	hasIDs  bool            // a record names a store id
	foreign foreign         // records of other stores

	seed    uint64            // of the last record that was read
	seeded  bool              // a record was read
	last    *facts            // of the last version so far
	recent  map[uint64]*facts // of the last versions, by version
	segment []*facts          // versions that are not checked yet, from one with a snapshot on

	faults   []*fault                  // in the order of discovery
	byObject map[dataset.Digest]*fault // faults of objects
	unread   int                       // objects in a row that could not be read
	totals   Totals
}

// facts are what a walk keeps of a version.
type facts struct {
	version  uint64
	read     bool // the record could be read
	id       dataset.VersionID
	seed     uint64
	state    dataset.Checksum
	payload  uint64
	snapshot dataset.Object // that the record names
	first    uint64         // the version of the first delta that the record names; 0 if it names none

	// delta leads to the version from the one before, according to the version's record or a later one; zero if none does.
	delta dataset.Object
	fault *fault // of the delta; nil if it is whole, or not checked yet
	path  string // of the delta's copy while its segment is checked
	// strays are other objects that the record names as deltas to earlier versions.
	strays  []dataset.Object
	checked bool
	// source is the version of a snapshot from which whole deltas lead to this version; 0 if there is none.
	source uint64
}

// fault is a finding in the making.
type fault struct {
	kind     Kind
	version  uint64
	object   dataset.Object
	place    string
	problem  string
	lost     []Range
	readable []Range
	sources  Range // the versions of the snapshots from which readable are read
}

// Dataset verifies one dataset and its journal, without the event log and the catalog. See Run for found and the errors. It calls found at
// the end, in the order of versions and then of journal entries.
func (v *Verifier) Dataset(ctx context.Context, name string, found func(Finding) error) (_ Totals, err error) {
	w := &walk{Verifier: v, name: name, recent: map[uint64]*facts{}, byObject: map[dataset.Digest]*fault{}}
	if w.newest, err = v.newest(ctx, name); err != nil {
		return Totals{}, err
	}
	if w.folder, err = scratch.New(v.cfg.TempDir); err != nil {
		return Totals{}, fmt.Errorf("verify dataset %q: %w", name, err)
	}
	defer w.folder.Discard(slog.New(slog.DiscardHandler), name)
	if err := w.readGone(ctx); err != nil {
		return Totals{}, err
	}
	if err := w.run(ctx); err != nil {
		return w.totals, err
	}
	if err := w.forgive(ctx); err != nil {
		return w.totals, err
	}
	entries, err := v.journal(ctx, name)
	if err != nil {
		return w.totals, err
	}
	w.totals.Datasets = 1
	slices.SortStableFunc(w.faults, func(a, b *fault) int {
		return cmp.Or(cmp.Compare(a.version, b.version), -cmp.Compare(a.kind, b.kind)) // a snapshot before a delta
	})
	findings := make([]Finding, 0, len(w.faults)+len(entries))
	for _, f := range w.faults {
		findings = append(findings, w.finding(f))
	}
	for _, f := range append(findings, entries...) {
		w.totals.Findings++
		if err := found(f); err != nil {
			return w.totals, err
		}
	}
	return w.totals, nil
}

func (w *walk) run(ctx context.Context) error {
	if err := w.readID(ctx); err != nil {
		return err
	}
	if err := w.listSnapshots(ctx); err != nil {
		return err
	}
	if err := w.records(ctx); err != nil {
		return err
	}
	if err := w.check(ctx, w.segment, true); err != nil {
		return err
	}
	return w.checkID(ctx)
}

// add adds the next version. A version with a snapshot ends the segment before, and begins another.
func (w *walk) add(ctx context.Context, f *facts) error {
	w.last, w.recent[f.version] = f, f
	// A record names deltas of the last MaxDeltas versions. A segment may have begun as many versions before.
	delete(w.recent, f.version-min(f.version, 2*dataset.MaxDeltas+2))
	w.segment = append(w.segment, f)
	w.totals.Versions++
	_, compacted := w.snapshots[f.version]
	begins := compacted || f.read && f.snapshot.Version == f.version
	if len(w.segment) == 1 || !begins && len(w.segment) <= dataset.MaxDeltas {
		return nil
	}
	if err := w.check(ctx, w.segment, false); err != nil {
		return err
	}
	w.segment = []*facts{f}
	return nil
}

// seedOf returns the seed of the order of the version's objects. All versions of a dataset have one seed.
func (w *walk) seedOf(f *facts) uint64 {
	if f.read {
		return f.seed
	}
	return w.seed
}

// note counts o, whose bytes are verified.
func (w *walk) note(o dataset.Object) {
	w.unread = 0
	if !w.whole.Contains(o.Digest) {
		w.totals.Objects++
		w.totals.Bytes += o.Bytes
	}
	w.whole.Add(o.Digest, struct{}{})
}

// lost records that o cannot be read because of err. It returns err if it is no fault of the object: if ctx has ended, if the temporary folder
// failed, or if the store does not answer.
func (w *walk) lost(ctx context.Context, kind Kind, o dataset.Object, err error) (*fault, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if local, ok := errors.AsType[*localError](err); ok {
		return nil, fmt.Errorf("verify dataset %q: %w", w.name, local)
	}
	if !versions.IsLost(err) {
		if w.unread++; w.unread >= maxUnread {
			return nil, fmt.Errorf("verify dataset %q: %d objects in a row could not be read: %w", w.name, maxUnread, err)
		}
		return w.blame(KindUnread, o, fmt.Sprintf("the %s of version %d could not be read: %v", kind, o.Version, err)), nil
	}
	w.unread = 0
	return w.blame(kind, o, fmt.Sprintf("the %s of version %d is lost: %v", kind, o.Version, err)), nil
}

// blame records a fault of an object, which there is one of.
func (w *walk) blame(kind Kind, o dataset.Object, problem string) *fault {
	if f := w.byObject[o.Digest]; f != nil {
		return f
	}
	f := &fault{kind: kind, version: o.Version, object: o, place: w.store.ObjectPlace(o.Digest), problem: problem}
	w.byObject[o.Digest] = f
	w.faults = append(w.faults, f)
	return f
}

// judge finds out whether the version can be loaded from the objects that its record names, whose checks are done. If not, it adds the
// version to their faults.
func (w *walk) judge(ctx context.Context, f *facts) error {
	if !f.read || w.gone.Contains(f.version) {
		return nil
	}
	var culprits []*fault
	if !w.whole.Contains(f.snapshot.Digest) && w.byObject[f.snapshot.Digest] == nil {
		// A snapshot of an earlier version, without a snapshot record.
		if err := w.checkSnapshot(ctx, f.snapshot, w.recent[f.snapshot.Version]); err != nil {
			return err
		}
	}
	if bad := w.byObject[f.snapshot.Digest]; bad != nil {
		culprits = append(culprits, bad)
	}
	for version := f.snapshot.Version + 1; version <= f.version; version++ {
		if d := w.recent[version]; d != nil && d.fault != nil && !slices.Contains(culprits, d.fault) {
			culprits = append(culprits, d.fault)
		}
	}
	for _, o := range f.strays {
		bad, err := w.checkStray(ctx, o)
		if err != nil {
			return err
		}
		if bad != nil && o.Version > f.snapshot.Version && !slices.Contains(culprits, bad) {
			culprits = append(culprits, bad)
		}
	}
	if len(culprits) == 0 {
		f.source = max(f.source, f.snapshot.Version)
	}
	for _, bad := range culprits {
		bad.lost = extend(bad.lost, f.version)
		if f.source == 0 {
			continue
		}
		bad.readable = extend(bad.readable, f.version)
		if bad.sources.First == 0 {
			bad.sources.First = f.source
		}
		bad.sources.Last = f.source
	}
	return nil
}

// checkStray verifies a delta that is not the one to its version.
func (w *walk) checkStray(ctx context.Context, o dataset.Object) (*fault, error) {
	if w.whole.Contains(o.Digest) {
		return nil, nil
	}
	if bad := w.byObject[o.Digest]; bad != nil {
		return bad, nil
	}
	if err := w.history.Objects.Verify(ctx, o); err != nil {
		return w.lost(ctx, KindDelta, o, err)
	}
	w.note(o)
	return nil, nil
}

// errReplaced is returned when the store changes as no publisher changes it.
var errReplaced = errors.New("the store was replaced by an older copy while it was verified; verify it again")
