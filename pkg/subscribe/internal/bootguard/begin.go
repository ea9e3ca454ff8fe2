package bootguard

import (
	"fmt"
	"maps"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// Begin counts the death of the process before, if it died, when it is called first. It is called before the cached version of the
// dataset is loaded, and makes the cache folder go back to the version before a quarantined one.
func (g *Guard) Begin(name string) error {
	if g == nil {
		return nil
	}
	g.begun.Do(g.beginAll)
	s := g.lock(name)
	if s == nil {
		return nil
	}
	defer s.unlock()
	if has, err := g.dir.HasBoot(name); err != nil || !has {
		return err
	}
	if _, err := g.begin(s); err != nil {
		return err
	}
	return g.dir.Restore(name, s.bars)
}

// beginAll counts the death of the process before, of all datasets. If versions of several datasets have so many deaths with that
// that they would be quarantined, one of them is: the one that was first tried last. The others need one more death.
func (g *Guard) beginAll() {
	var suspect *set
	var latest cachedir.Deaths
	acquit := func(s *set, d cachedir.Deaths) {
		if g.lock(s.name) == nil {
			return
		}
		defer s.unlock()
		d.Count = maxDeaths - 1
		s.boot.Set(d)
		s.dirty = true
		g.publish(s)
		_ = g.write(s, true) // it is written with the next mark then
	}
	for _, name := range slices.Sorted(maps.Keys(g.sets)) {
		if has, err := g.dir.HasBoot(name); err != nil || !has { // the folder need not be there before the first mark
			continue
		}
		s := g.lock(name)
		if s == nil {
			continue
		}
		died, _ := g.begin(s) // Begin of the dataset returns the error
		s.unlock()
		switch {
		case died.Count < maxDeaths:
		case suspect == nil:
			suspect, latest = s, died
		case died.First > latest.First:
			acquit(suspect, latest)
			suspect, latest = s, died
		default:
			acquit(s, died)
		}
	}
}

// begin reads boot.json, counts the death of the process before and returns how many deaths the version has with that, if there was
// one. While another process holds the folder it reads alone.
func (g *Guard) begin(s *set) (died cachedir.Deaths, err error) {
	if s.begun {
		return died, nil
	}
	err = g.dir.Own()
	boot, hangs := g.dir.ReadBoot(s.name)
	if hangs != nil {
		return died, hangs // the file is read by a later call
	}
	s.boot = boot
	if err != nil {
		g.publish(s)
		return died, err
	}
	s.begun = true
	if t := s.boot.Trying; t != nil {
		s.dirty = true
		if t.Boot == g.bootID && g.bootID != "" && !s.boot.IsConfirmed(t.ID) {
			died = s.boot.Died(*t)
			if g.Died != nil {
				g.Died(s.name, died)
			}
		}
	}
	g.publish(s)
	return died, g.write(s, true)
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
