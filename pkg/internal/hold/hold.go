// Package hold keeps commits and garbage collections apart.
//
// A publisher is about to name objects that the store has had for a while, in a version or a pin. A collection is about to remove objects that no version needs.
// Neither may go on while the other has not seen it. Both therefore write a note before they read:
//
//   - The publisher writes a hold on the objects. Then it reads the sweeps, and waits for those that name one of its objects. Then it checks
//     that the store has the objects. Then it commits, and drops the hold.
//   - The collection writes a sweep that names the objects. Then it reads the holds. Then it reads the version records and pins that are new since
//     its plan. Then it removes the objects that neither names, and drops the sweep.
//
// Suppose that a collection removes an object that a committed version names. If the publisher read the sweeps after the sweep was written,
// the publisher waited for its end, and missed the object afterwards: it does not commit. Otherwise the hold was written before the sweep, so
// the collection sees the hold, or the hold was dropped after the commit: then the collection sees the version. Each case is a
// contradiction. The argument needs a store that shows what was written to every later read, as a folder and S3 do, and no clock.
//
// This is how a commit renews old objects: it copies and touches none, because a bucket would copy gigabytes.
package hold

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/store"
)

const (
	holdPrefix  = "hold-"
	sweepPrefix = "sweep-"

	// SweepFor bounds a sweep: a collection begins no removal by a sweep that it wrote longer ago. A removal takes at most RemoveFor.
	SweepFor  = time.Minute
	RemoveFor = 30 * time.Second
	// deadSweep is the age from which a sweep is that of a collection that died. Until then publishes wait for it. It is longer than
	// SweepFor and RemoveFor together, for requests that a server finishes late.
	deadSweep = 3 * time.Minute
	// deadHold is the age from which a hold is that of a publisher that died. It is longer than any commit takes.
	deadHold = 24 * time.Hour

	firstPoll, lastPoll = 20 * time.Millisecond, time.Second
)

// ErrSweeping is returned by Begin when another collection sweeps.
var ErrSweeping = fmt.Errorf("another garbage collection removes objects at this time, or died less than %v ago", deadSweep)

// named is the content of a note.
type named struct {
	Objects []dataset.Digest `json:"objects"`
}

// Note is a hold or a sweep in the store.
type Note struct {
	store store.Store
	name  string
}

func put(ctx context.Context, st store.Store, prefix string, objects []dataset.Digest) (*Note, error) {
	text, err := json.Marshal(named{objects})
	if err != nil {
		return nil, err
	}
	n := &Note{store: st, name: prefix + strings.ToLower(rand.Text())}
	if err := st.PutNote(ctx, n.name, text); err != nil {
		n.Drop(ctx) // it may have been written
		return nil, err
	}
	return n, nil
}

// dropTimeout bounds the removal of a note.
const dropTimeout = 5 * time.Second

// Drop removes the note, also if ctx has ended. A note that is left expires. Drop does nothing for a nil Note.
func (n *Note) Drop(ctx context.Context) {
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	_ = n.store.DropNote(ctx, n.name) // it expires
}

// read returns the objects of a note; none if the note was dropped.
func read(ctx context.Context, st store.Store, name string) ([]dataset.Digest, error) {
	text, err := st.Note(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var n named
	if err := json.Unmarshal(text, &n); err != nil {
		return nil, fmt.Errorf("note %s in the folder gc of the store is damaged; remove it: %w", name, err)
	}
	return n.Objects, nil
}

// Take holds the objects until the hold is dropped. It waits for a sweep that names one of them. It fails with [store.ErrNotFound] if the
// store lacks one, and with [store.ErrDamaged] if one has another size.
func Take(ctx context.Context, st store.Store, objects []dataset.Object) (*Note, error) {
	digests := make([]dataset.Digest, len(objects))
	for i, o := range objects {
		digests[i] = o.Digest
	}
	h, err := put(ctx, st, holdPrefix, digests)
	if err != nil {
		return nil, fmt.Errorf("hold objects: %w", err)
	}
	err = h.wait(ctx, digests)
	for _, o := range objects {
		if err != nil {
			break
		}
		var size int64
		if size, err = st.StatObject(ctx, o.Digest); err == nil && size != o.Bytes {
			err = fmt.Errorf("object %s: %w at %s: it has %d bytes, not %d", o.Digest, store.ErrDamaged, st.ObjectPlace(o.Digest), size, o.Bytes)
		}
	}
	if err != nil {
		h.Drop(ctx)
		return nil, fmt.Errorf("hold objects: %w", err)
	}
	return h, nil
}

// wait waits until no sweep names one of the digests. The times of the notes are all by the store's clock.
func (n *Note) wait(ctx context.Context, digests []dataset.Digest) error {
	for poll := firstPoll; ; poll = min(2*poll, lastPoll) {
		sweeping, err := n.swept(ctx, digests)
		if err != nil || !sweeping {
			return err
		}
		if !wake.Wait(ctx, poll, nil) {
			return context.Cause(ctx)
		}
	}
}

// swept reports whether a sweep that is in progress names one of the digests.
func (n *Note) swept(ctx context.Context, digests []dataset.Digest) (bool, error) {
	notes, err := n.store.Notes(ctx, "")
	if err != nil {
		return false, err
	}
	own := slices.IndexFunc(notes, func(i store.NoteInfo) bool { return i.Name == n.name })
	for _, note := range notes {
		if !strings.HasPrefix(note.Name, sweepPrefix) || own >= 0 && notes[own].Modified.Sub(note.Modified).Abs() > deadSweep {
			continue
		}
		objects, err := read(ctx, n.store, note.Name)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(objects, func(d dataset.Digest) bool { return slices.Contains(digests, d) }) {
			return true, nil
		}
	}
	return false, nil
}

// Begin begins a sweep of the objects, and returns those that are held. It fails with ErrSweeping if another sweep is in progress, so that
// of the collections of several processes one sweeps. Begin removes notes of processes that died; ages are by the times of the notes.
func Begin(ctx context.Context, st store.Store, objects []dataset.Digest) (sweep *Note, held map[dataset.Digest]bool, err error) {
	begun, err := put(ctx, st, sweepPrefix, objects)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			begun.Drop(ctx) // or it would stop all collections, and publishes, until it is dead
		}
	}()
	notes, err := st.Notes(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	own := slices.IndexFunc(notes, func(i store.NoteInfo) bool { return i.Name == begun.name })
	if own < 0 { // another collection took it for one that died
		return nil, nil, ErrSweeping
	}
	held = map[dataset.Digest]bool{}
	for _, note := range notes {
		age := notes[own].Modified.Sub(note.Modified).Abs() // in the future if the clock was set back
		switch {
		case note.Name == begun.name:
		case strings.HasPrefix(note.Name, sweepPrefix) && age <= deadSweep:
			return nil, nil, ErrSweeping
		case strings.HasPrefix(note.Name, sweepPrefix), strings.HasPrefix(note.Name, holdPrefix) && age > deadHold:
			if err := st.DropNote(ctx, note.Name); err != nil {
				return nil, nil, err
			}
		case strings.HasPrefix(note.Name, holdPrefix):
			digests, err := read(ctx, st, note.Name)
			if err != nil {
				return nil, nil, err
			}
			for _, d := range digests {
				held[d] = true
			}
		}
	}
	return begun, held, nil
}
