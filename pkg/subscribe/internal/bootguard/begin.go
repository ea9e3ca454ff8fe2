package bootguard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// Begin counts the death of the process before, if it died, unless an earlier call has. It is called before the cached version of the
// dataset is loaded, and makes the cache folder go back to the version before a quarantined one.
func (g *Guard) Begin(name string) error {
	if g == nil {
		return nil
	}
	if err := g.count(nil); err != nil {
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

// count counts the death of the process before once. It fails with [cachedir.ErrHangs] while the folder hangs, so that a later call
// counts, and with [ErrBusy] when another call counts until the timer fires.
func (g *Guard) count(timer <-chan time.Time) error {
	if g.counted.Load() {
		return nil
	}
	select {
	case g.counting <- struct{}{}:
	case <-timer:
		return ErrBusy
	}
	defer func() { <-g.counting }()
	if g.counted.Load() {
		return nil
	}
	err := g.beginAll()
	if err == nil {
		g.counted.Store(true)
	}
	return err
}

// beginAll counts the death of the process before, of all datasets. If versions of several datasets have so many deaths with that
// that they would be quarantined, one of them is: the one that was first tried last. The others need one more death. Nothing is
// published or written before all datasets were read. It fails with [cachedir.ErrHangs] alone, and may be called again then.
func (g *Guard) beginAll() error {
	var read []*set
	for _, name := range slices.Sorted(maps.Keys(g.sets)) {
		has, err := g.dir.HasBoot(name) // the folder need not be there before the first mark
		if err == nil && has {
			err = g.readOf(name) // Begin of the dataset returns another error than ErrHangs
		}
		if errors.Is(err, cachedir.ErrHangs) {
			return err
		}
		if has {
			read = append(read, g.sets[name])
		}
	}
	var suspect *set
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
		_ = g.write(s, true) // it is written with the next mark then
		s.unlock()
	}
	return nil
}

func (g *Guard) readOf(name string) error {
	s := g.lock(name)
	if s == nil {
		return nil
	}
	defer s.unlock()
	return g.read(s)
}

// begin is read, and makes known what it read.
func (g *Guard) begin(s *set) error {
	if s.begun {
		return nil
	}
	err := g.read(s)
	if errors.Is(err, cachedir.ErrHangs) {
		return err
	}
	g.publish(s)
	return errors.Join(err, g.write(s, true))
}

// read reads boot.json and counts the death of the process before. While another process holds the folder it reads alone.
func (g *Guard) read(s *set) error {
	if s.begun {
		return nil
	}
	err := g.dir.Own()
	boot, hangs := g.dir.ReadBoot(s.name)
	if hangs != nil {
		return hangs // the file is read by a later call
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

// publish makes known which versions are quarantined.
func (g *Guard) publish(s *set) {
	var all []refresh.Barred
	for _, d := range s.boot.Deaths {
		if d.Count >= maxDeaths {
			all = append(all, refresh.Barred{Ref: d.Ref, Why: fmt.Sprintf("version %s is quarantined: %d processes died within %s of taking it in; "+
				"publish a next version, or, to try this one again, stop the instance, remove %s and start the instance",
				d.Ref, d.Count, g.after, g.dir.BootPath(s.name))})
		}
	}
	s.barred.Store(&all)
}

func (s *set) bars(ref dataset.Ref) bool {
	for _, b := range *s.barred.Load() {
		if b.Ref.ID == ref.ID {
			return true
		}
	}
	return false
}
