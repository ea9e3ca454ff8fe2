package bootguard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// Begin counts the death of the previous process, if that died and no earlier call counted it. If the cached version of the dataset is
// quarantined, Begin makes the cache folder fall back to the previous version. The caller calls Begin before it loads the cached version.
func (g *Guard) Begin(name string) error {
	if g == nil {
		return nil
	}
	if err := g.count(context.Background()); err != nil {
		return err
	}
	s := g.lock(name)
	if s == nil {
		return nil
	}
	defer s.unlock()
	if has, err := g.dir.HasBoot(name); err != nil || !has {
		return err
	}
	if err := g.begin(s); err != nil {
		return err
	}
	return g.dir.Restore(name, s.bars)
}

// count counts the death of the previous process, once. It fails with [cachedir.ErrHangs] while the folder hangs, and a later call then
// counts. It fails with [ErrBusy] if another call is still counting when ctx ends.
func (g *Guard) count(ctx context.Context) error {
	if g.counted.Load() {
		return nil
	}
	if g.counting.Acquire(ctx, 1) != nil {
		return ErrBusy
	}
	defer g.counting.Release(1)
	if g.counted.Load() {
		return nil
	}
	err := g.countAll()
	if err == nil {
		g.counted.Store(true)
	}
	return err
}

// countAll counts the death of the previous process for all datasets. If that death would quarantine versions of several datasets, countAll
// quarantines only the version whose first try was the latest, and the others need one more death. It publishes and writes nothing before
// all datasets were read. Its only error is [cachedir.ErrHangs], after which it may be called again.
func (g *Guard) countAll() error {
	var read []*state
	for _, name := range slices.Sorted(maps.Keys(g.states)) {
		has, err := g.dir.HasBoot(name) // the folder may not exist before the first mark
		if err == nil && has {
			err = g.lockAndRead(name) // Begin returns errors other than ErrHangs
		}
		if errors.Is(err, cachedir.ErrHangs) {
			return err
		}
		if has {
			read = append(read, g.states[name])
		}
	}
	var suspect *state
	for _, s := range read {
		if s.died.Count >= maxDeaths && (suspect == nil || s.died.First > suspect.died.First) {
			suspect = s
		}
	}
	for _, s := range read {
		if g.lock(s.name) == nil {
			continue
		}
		if s.died.Count >= maxDeaths && s != suspect {
			s.died.Count = maxDeaths - 1
			s.boot.Set(s.died)
		}
		g.publish(s)
		_ = g.write(s) // after an error, the next mark writes it
		s.unlock()
	}
	return nil
}

// lockAndRead is read with the lock of the dataset. It does nothing if the lock is not free in time.
func (g *Guard) lockAndRead(name string) error {
	s := g.lock(name)
	if s == nil {
		return nil
	}
	defer s.unlock()
	return g.read(s)
}

// begin reads boot.json and publishes the quarantined versions, unless it was read before.
func (g *Guard) begin(s *state) error {
	if s.begun {
		return nil
	}
	err := g.read(s)
	if errors.Is(err, cachedir.ErrHangs) {
		return err
	}
	g.publish(s)
	return errors.Join(err, g.write(s))
}

// read reads boot.json and counts the death of the previous process. While another process holds the folder, it only reads.
func (g *Guard) read(s *state) error {
	if s.begun {
		return nil
	}
	err := g.dir.Own()
	boot, hangs := g.dir.ReadBoot(s.name)
	if hangs != nil {
		return hangs // a later call reads the file
	}
	s.boot = boot
	if err != nil {
		return err
	}
	s.begun = true
	if t := s.boot.Trying; t != nil {
		s.dirty = true
		if t.Boot == g.bootID && g.bootID != "" && !s.boot.IsConfirmed(t.ID) {
			s.died = s.boot.Died(*t)
			if g.Died != nil {
				g.Died(s.name, s.died)
			}
		}
	}
	return nil
}

// publish updates the quarantined versions that Barred and Bars return.
func (g *Guard) publish(s *state) {
	var all []refresh.Barred
	for _, d := range s.boot.Deaths {
		if d.Count >= maxDeaths {
			all = append(all, refresh.Barred{Ref: d.Ref, Why: fmt.Sprintf("version %s is quarantined: %d processes died within %s of loading it; "+
				"publish a next version, or, to try this one again, stop the instance, remove %s and start the instance",
				d.Ref, d.Count, g.after, g.dir.BootPath(s.name))})
		}
	}
	s.barred.Store(&all)
}

// bars reports whether the version is quarantined.
func (s *state) bars(ref dataset.Ref) bool {
	for _, b := range *s.barred.Load() {
		if b.Ref.ID == ref.ID {
			return true
		}
	}
	return false
}
