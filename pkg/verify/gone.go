package verify

import (
	"context"
	"fmt"
	"slices"

	"freshet.dev/pkg/internal/gone"
)

// readGone reads which versions have lost their objects to retention.
func (w *walk) readGone(ctx context.Context) error {
	removed, err := gone.Of(ctx, w.store, w.name)
	if err != nil {
		return fmt.Errorf("verify dataset %q: %w", w.name, err)
	}
	w.gone = removed.VersionRanges
	return nil
}

// forgive drops the faults of objects that retention has removed. A garbage collection may have run since the walk began, so the journal
// is read again. An object of a version that is gone, without which another version cannot be loaded, stays a fault.
func (w *walk) forgive(ctx context.Context) error {
	if err := w.readGone(ctx); err != nil {
		return err
	}
	if len(w.gone) == 0 {
		return nil
	}
	w.faults = slices.DeleteFunc(w.faults, func(f *fault) bool {
		if f.kind != KindSnapshot && f.kind != KindDelta && f.kind != KindUnread || !w.gone.Contains(f.version) {
			return false
		}
		f.lost = without(f.lost, w.gone.Contains)
		f.readable = without(f.readable, w.gone.Contains)
		return len(f.lost) == 0
	})
	return nil
}

// without returns the ranges without the versions for which drop holds.
func without(ranges []Range, drop func(uint64) bool) (rest []Range) {
	for _, r := range ranges {
		for v := r.First; v <= r.Last; v++ {
			if !drop(v) {
				rest = extend(rest, v)
			}
		}
	}
	return rest
}
