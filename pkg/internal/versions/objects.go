package versions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

// ErrLost is returned when an object of a version is missing in the store or damaged, so that the version can be neither patched,
// compacted nor restored. A publish of all records heals the newest version.
var ErrLost = errors.New("the version has lost an object")

// Objects puts objects into the store and verifies them. It remembers the objects that a reader in this process found lost or
// damaged, until a verification of all their bytes or a repair clears them. No version that names one of them is committed.
type Objects struct {
	store    store.Store
	log      *slog.Logger
	suspects suspects
	fresh    fresh
}

func newObjects(st store.Store, log *slog.Logger) *Objects { return &Objects{store: st, log: log} }

// Suspect reports whether a reader found the object lost or damaged.
func (o *Objects) Suspect(digest dataset.Digest) bool { return o.suspects.has(digest) }

// Failed returns err, which a reader of object got. If err says that the object is lost or damaged, Failed makes the object a
// suspect, and adds its digest and its place in the store to the error.
func (o *Objects) Failed(object dataset.Object, err error) error {
	if err == nil || !IsLost(err) {
		return err
	}
	o.suspects.add(object.Digest)
	place := o.store.ObjectPlace(object.Digest)
	if text := err.Error(); strings.Contains(text, place) && strings.Contains(text, object.Digest.String()) {
		return err
	}
	return fmt.Errorf("object %s at %s: %w", object.Digest, place, err)
}

// IsLost reports whether err says that an object is missing or damaged, so that a retry does not help.
func IsLost(err error) bool {
	for _, lost := range []error{store.ErrNotFound, store.ErrDamaged, snapshot.ErrCorrupt, snapshot.ErrFormat, snapshot.ErrOrder, snapshot.ErrRemoval} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// LostError returns err as an ErrLost if IsLost holds for it, else err.
func LostError(err error) error {
	if IsLost(err) {
		return fmt.Errorf("%w: %w; publish all of the dataset's records to heal it", ErrLost, err)
	}
	return err
}

// Verify reads the object to its end. It returns nil if the store has exactly the object that a record names, and an error for
// which IsLost holds if not. Either result settles whether the object is a suspect.
func (o *Objects) Verify(ctx context.Context, object dataset.Object) error {
	if err := o.stat(ctx, object); err != nil {
		return err
	}
	err := store.VerifyObject(ctx, o.store, object.Digest, object.Bytes)
	if errors.Is(err, store.ErrDamaged) {
		// The bytes may have been damaged in transit.
		err = store.VerifyObject(ctx, o.store, object.Digest, object.Bytes)
	}
	if err == nil {
		o.suspects.remove(object.Digest)
	}
	return o.Failed(object, err)
}

// CheckNamed returns an error if rec, which is about to be committed, names an object that is lost or damaged. It verifies
// suspects among the objects that the version is loaded from, because another process may have repaired them. It drops deltas
// from before the snapshot that are suspects, and all older ones: an instance that lacks one pulls the snapshot.
func (o *Objects) CheckNamed(ctx context.Context, rec *dataset.VersionRecord) error {
	chain := rec.Chain()
	if err := o.verifySuspects(ctx, chain); err != nil {
		return err
	}
	for i := len(rec.Deltas) - len(chain); i >= 0; i-- { // chain has the snapshot too
		if o.Suspect(rec.Deltas[i].Digest) {
			if rec.Deltas = rec.Deltas[i+1:]; len(rec.Deltas) == 0 {
				rec.Deltas = nil
			}
			break
		}
	}
	return nil
}

// CheckChain returns an error for which IsLost holds if the store lacks the snapshot of c, or if a suspect of c is damaged. A version that
// leads on from c needs it, although its publisher has not read it.
func (o *Objects) CheckChain(ctx context.Context, c Chain) error {
	if err := o.verifySuspects(ctx, c.Objects()); err != nil {
		return err
	}
	return o.stat(ctx, c.Snapshot)
}

// verifySuspects verifies those of the objects that are suspects.
func (o *Objects) verifySuspects(ctx context.Context, objects []dataset.Object) error {
	for _, object := range objects {
		if o.Suspect(object.Digest) {
			if err := o.Verify(ctx, object); err != nil {
				return err
			}
		}
	}
	return nil
}

// stat returns an error for which IsLost holds if the store lacks the object or has it in another size.
func (o *Objects) stat(ctx context.Context, object dataset.Object) error {
	switch size, err := o.store.StatObject(ctx, object.Digest); {
	case err != nil:
		return o.Failed(object, err)
	case size != object.Bytes:
		return o.Failed(object, fmt.Errorf("%w: it has %d bytes in the store, not %d", store.ErrDamaged, size, object.Bytes))
	}
	return nil
}

// Put puts the file at path into the store as the object. If the store has an object of that name and size, Put verifies its
// bytes and replaces it if they are damaged: the same content makes the same object, whose name may come from a version of
// long ago. That is rare, and costs less than writing the object does.
func (o *Objects) Put(ctx context.Context, path string, object dataset.Object) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	content := &watched{Reader: f}
	if err := o.store.PutObject(ctx, object.Digest, object.Bytes, content); err != nil {
		return err
	}
	if content.read {
		o.fresh.add(object.Digest)
	} else { // as PutObject documents for an object that exists
		replaced, err := o.store.RepairObject(ctx, object.Digest, object.Bytes, f)
		if err != nil {
			return err
		}
		if replaced {
			o.log.WarnContext(ctx, "replaced an object that was damaged in the store",
				"object", object.Digest.String(), "place", o.store.ObjectPlace(object.Digest))
		}
	}
	o.suspects.remove(object.Digest)
	return nil
}

// watched is a reader that records whether it was read.
type watched struct {
	io.Reader
	read bool
}

func (w *watched) Read(b []byte) (int, error) {
	w.read = true
	return w.Reader.Read(b)
}
