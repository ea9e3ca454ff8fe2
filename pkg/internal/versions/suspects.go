package versions

import (
	"slices"
	"sync"

	"freshet.dev/pkg/dataset"
)

// maxSuspects bounds a set of suspects. Above it the earliest are dropped; the next reader finds them again.
const maxSuspects = 1 << 12

// suspects is a bounded set of objects that a reader found lost or damaged. The zero suspects is ready for use.
type suspects struct {
	mu    sync.Mutex
	set   map[dataset.Digest]bool // guarded by mu
	order []dataset.Digest        // of set, the earliest first; guarded by mu
}

func (s *suspects) has(digest dataset.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set[digest]
}

func (s *suspects) add(digest dataset.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set[digest] {
		return
	}
	if s.set == nil {
		s.set = map[dataset.Digest]bool{}
	}
	if len(s.order) == maxSuspects {
		delete(s.set, s.order[0])
		s.order = s.order[1:]
	}
	s.set[digest] = true
	s.order = append(s.order, digest)
}

func (s *suspects) remove(digest dataset.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.set[digest] {
		return
	}
	delete(s.set, digest)
	s.order = slices.DeleteFunc(slices.Clone(s.order), func(other dataset.Digest) bool { return other == digest })
}
