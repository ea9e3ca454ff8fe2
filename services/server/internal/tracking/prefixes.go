package tracking

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// prefixes are the prefixes that clients in BCAST mode track in one dataset.
type prefixes struct {
	n atomic.Int64 // groups

	mu sync.RWMutex
	// whole are the groups whose prefix all keys of the dataset have, by prefix. Guarded by mu.
	whole map[string]*group
	// parts are the other groups, by the length and then by the text of what their prefix demands of a record's key. Guarded by mu.
	parts map[int]map[string]*group
}

// group are the sessions that track one prefix.
type group struct{ sessions map[*Session]struct{} }

// subscribe makes s a reader of the prefix, in each dataset that has keys with the prefix.
func (t *Tracker) subscribe(s *Session, prefix string) {
	for _, d := range t.order {
		if rest, whole, ok := d.cut(prefix); ok {
			d.bcast.add(s, rest, whole)
		}
	}
}

// unsubscribe undoes subscribe.
func (t *Tracker) unsubscribe(s *Session, prefix string) {
	for _, d := range t.order {
		if rest, whole, ok := d.cut(prefix); ok {
			d.bcast.remove(s, rest, whole)
		}
	}
}

// cut returns what the prefix demands of the keys of records: whole is true if it demands nothing, and rest is the prefix itself then. ok is
// false if no key of the dataset has the prefix.
func (d *keys) cut(prefix string) (rest string, whole, ok bool) {
	if strings.HasPrefix(d.prefix, prefix) {
		return prefix, true, true
	}
	rest, ok = strings.CutPrefix(prefix, d.prefix)
	return rest, false, ok
}

// groups returns the groups that rest is in. The caller holds the lock.
func (p *prefixes) groups(rest string, whole bool) map[string]*group {
	if whole {
		if p.whole == nil {
			p.whole = make(map[string]*group)
		}
		return p.whole
	}
	if p.parts == nil {
		p.parts = make(map[int]map[string]*group)
	}
	groups := p.parts[len(rest)]
	if groups == nil {
		groups = make(map[string]*group)
		p.parts[len(rest)] = groups
	}
	return groups
}

func (p *prefixes) add(s *Session, rest string, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	groups := p.groups(rest, whole)
	g := groups[rest]
	if g == nil {
		g = &group{sessions: make(map[*Session]struct{})}
		groups[rest] = g
		p.n.Add(1)
	}
	g.sessions[s] = struct{}{}
}

func (p *prefixes) remove(s *Session, rest string, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	groups := p.groups(rest, whole)
	g := groups[rest]
	if g == nil {
		return
	}
	if delete(g.sessions, s); len(g.sessions) > 0 {
		return
	}
	delete(groups, rest)
	p.n.Add(-1)
	if !whole && len(groups) == 0 {
		delete(p.parts, len(rest))
	}
}

// match appends the groups whose prefix the key of a record has to dst.
func (p *prefixes) match(key []byte, dst []*group) []*group {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, g := range p.whole {
		dst = append(dst, g)
	}
	for length, groups := range p.parts {
		if length <= len(key) {
			if g := groups[string(key[:length])]; g != nil {
				dst = append(dst, g)
			}
		}
	}
	return dst
}

// members returns the sessions of the group now.
func (p *prefixes) members(g *group) []*Session {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Collect(maps.Keys(g.sessions))
}

// everyone returns the sessions of all groups now, each once.
func (p *prefixes) everyone() map[*Session]struct{} {
	all := make(map[*Session]struct{})
	p.mu.RLock()
	defer p.mu.RUnlock()
	add := func(groups map[string]*group) {
		for _, g := range groups {
			maps.Copy(all, g.sessions)
		}
	}
	add(p.whole)
	for _, groups := range p.parts {
		add(groups)
	}
	return all
}
