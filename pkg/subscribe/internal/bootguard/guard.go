package bootguard

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// maxDeaths is how many processes may die of a version before it is quarantined.
const maxDeaths = 2

// patience is how long a call waits for another one of the same dataset, which may be at a slow disk. A disk that hangs ends either
// (see [cachedir.ErrHangs]).
const patience = time.Second

// ErrBusy is returned when no mark could be set because another call of the dataset is at a slow disk.
var ErrBusy = errors.New("the version is not guarded: the disk of the cache folder is slow")

// bootFile is where Linux says which boot of the machine this is.
const bootFile = "/proc/sys/kernel/random/boot_id"

// BootID returns the id of the machine's boot; empty if it cannot be read. Then no death is counted.
func BootID() string {
	text, err := os.ReadFile(bootFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Guard watches over the versions of an instance. A nil *Guard does nothing.
type Guard struct {
	// Died is called for each death that is counted, with how many the version has now. It may be nil. Set it before Begin.
	Died func(name string, d cachedir.Deaths)

	dir    *cachedir.Dir
	after  time.Duration
	bootID string
	sets   map[string]*set // not changed after New
	wake   chan struct{}   // has room for one: something is on probation

	counting chan struct{} // has room for one: held while the death of the process before is counted
	counted  atomic.Bool

	mu  sync.Mutex
	due map[string]time.Time // when the first version of a dataset on probation is confirmed; guarded by mu
}

// set is the state of a dataset.
type set struct {
	name   string
	turn   chan struct{} // has room for one: held while boot.json and what follows is read or changed
	barred atomic.Pointer[[]refresh.Barred]

	begun   bool            // boot is the file's content, and this process holds the folder
	died    cachedir.Deaths // those of the version that the process before died of
	stopped bool            // the process is about to end on purpose
	boot    cachedir.Boot
	dirty   bool // boot differs from the file
	loading *Mark
	serving *Mark // nil if what is served is confirmed, or nothing is
	first   *Mark // the earliest that was served and is not confirmed; versions after it may have taken its place
}

// Mark is that of a version that is being tried.
type Mark struct {
	rec   dataset.VersionRecord
	ref   dataset.Ref
	first int64     // as in cachedir.Trial
	since time.Time // when it was swapped in
}

// New returns the guard of the datasets in dir, which confirms versions that were served for as long as after. bootID is that of
// this boot of the machine.
func New(dir *cachedir.Dir, names []string, after time.Duration, bootID string) *Guard {
	dir.Retain()
	g := &Guard{dir: dir, after: after, bootID: bootID, sets: make(map[string]*set), wake: make(chan struct{}, 1), due: make(map[string]time.Time), counting: make(chan struct{}, 1)}
	for _, name := range names {
		s := &set{name: name, turn: make(chan struct{}, 1)}
		s.barred.Store(new([]refresh.Barred))
		g.sets[name] = s
	}
	return g
}

// lock takes the dataset's turn; nil if there is no such dataset, or no turn in time.
func (g *Guard) lock(name string) *set {
	if g == nil || g.sets[name] == nil {
		return nil
	}
	s := g.sets[name]
	select {
	case s.turn <- struct{}{}:
		return s
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
		return s
	case <-timer.C:
		return nil
	}
}

func (s *set) unlock() { <-s.turn }

// Barred returns the dataset's quarantined versions. It waits for nothing.
func (g *Guard) Barred(name string) []refresh.Barred {
	if g == nil || g.sets[name] == nil {
		return nil
	}
	return *g.sets[name].barred.Load()
}

// Bars reports whether the version is quarantined.
func (g *Guard) Bars(name string, id dataset.VersionID) bool {
	return g != nil && g.sets[name] != nil && g.sets[name].bars(dataset.Ref{ID: id})
}

// Try sets the mark of the version, which is about to be loaded. Its error says that there is none. Follow it by Swapped, Serve or Undo
// of the mark.
func (g *Guard) Try(rec dataset.VersionRecord) (*Mark, error) {
	return g.try(rec, func(*set) {})
}

// try is Try. It calls prepare before the mark is set.
func (g *Guard) try(rec dataset.VersionRecord, prepare func(*set)) (*Mark, error) {
	if g == nil || g.bootID == "" {
		return nil, nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	if err := g.count(timer.C); err != nil {
		return nil, err
	}
	s := g.lock(rec.Dataset)
	if s == nil {
		return nil, ErrBusy
	}
	defer s.unlock()
	prepare(s)
	return g.mark(s, rec)
}

func (g *Guard) mark(s *set, rec dataset.VersionRecord) (m *Mark, err error) {
	if s.stopped {
		return nil, nil // and takes no lock of a folder that may be closed
	}
	err = g.begin(s)
	ref := rec.Ref()
	if err == nil && !s.boot.IsConfirmed(ref.ID) {
		m = &Mark{rec: rec, ref: ref, first: time.Now().UnixNano()}
		if d := s.boot.Of(ref.ID); d.Count > 0 {
			m.first = d.First
		}
		s.loading = m
		err = g.write(s, false)
	}
	if errors.Is(err, cachedir.ErrShared) {
		return nil, nil // the process that holds the folder has its own mark there
	}
	return m, err
}

// write brings boot.json up to what is being tried. It does nothing if that is there already.
func (g *Guard) write(s *set, durable bool) error {
	t := s.loading
	if t == nil {
		t = s.serving
	}
	var trying *cachedir.Trial
	if t != nil && !s.stopped {
		trying = &cachedir.Trial{Ref: t.ref, Boot: g.bootID, First: t.first}
	}
	if was := s.boot.Trying; (was == nil) != (trying == nil) || was != nil && *was != *trying {
		s.boot.Trying, s.dirty = trying, true
	}
	if !s.dirty || !s.begun {
		return nil
	}
	err := g.dir.SetBoot(s.name, s.boot, durable)
	s.dirty = err != nil
	return err
}

// Undo takes back the mark of a version that could not be loaded. A mark that a later Try has set stays, also of the same version.
func (g *Guard) Undo(m *Mark) {
	if m == nil {
		return
	}
	s := g.lock(m.rec.Dataset)
	if s == nil {
		return
	}
	defer s.unlock()
	if s.loading == m {
		s.loading = nil
		_ = g.write(s, false) // if that fails, the next mark replaces this one
	}
}

// Swapped says that the version, which m is the mark of, is served now: from here on it is on probation, unless it is confirmed. m is
// nil if Try has set none.
func (g *Guard) Swapped(rec dataset.VersionRecord, m *Mark) error {
	settle, err := g.Serve(rec, m)
	return errors.Join(err, settle())
}

// Serve is Swapped without what takes long. The caller calls settle afterwards.
func (g *Guard) Serve(rec dataset.VersionRecord, m *Mark) (settle func() error, err error) {
	s := g.lock(rec.Dataset)
	if s == nil {
		return func() error { return nil }, nil
	}
	confirmed, err := g.swapped(s, m)
	s.unlock()
	return func() error { return g.settle(confirmed) }, err
}

// swapped returns the version that is confirmed with that, if one is.
func (g *Guard) swapped(s *set, m *Mark) (confirmed *Mark, err error) {
	s.serving = nil
	if s.loading == m {
		s.loading = nil
	}
	if m == nil || s.stopped || s.boot.IsConfirmed(m.ref.ID) {
		return nil, g.write(s, false)
	}
	s.serving = m
	m.since = time.Now()
	if s.first == nil {
		g.probation(s, m)
	}
	if g.after <= time.Since(s.first.since) {
		return s.first, g.confirm(s, s.first, false)
	}
	return nil, g.write(s, false)
}

// probation makes t the version that is confirmed next; nil for none.
func (g *Guard) probation(s *set, t *Mark) {
	s.first = t
	g.mu.Lock()
	defer g.mu.Unlock()
	if t == nil {
		delete(g.due, s.name)
		return
	}
	g.due[s.name] = t.since.Add(g.after)
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Adopt says that what is served, whose content is that of was, has the id of the version rec from now on. A confirmed version stays
// confirmed; one on probation begins it again. It returns the mark of rec as Try does.
func (g *Guard) Adopt(was, rec dataset.VersionRecord) (*Mark, error) {
	return g.try(rec, func(s *set) {
		if s.begun && s.boot.IsConfirmed(was.VersionID()) {
			s.boot.Confirm(rec.Ref())
			s.dirty = true
		}
	})
}

// settle has the folder drop what was kept because of t; nil is no version. It may take long, so the caller holds no turn.
func (g *Guard) settle(t *Mark) error {
	if t == nil {
		return nil
	}
	return g.dir.Settle(t.rec.Dataset, t.rec)
}

// confirm takes t off probation. The caller calls settle afterwards.
func (g *Guard) confirm(s *set, t *Mark, durable bool) error {
	s.boot.Confirm(t.ref)
	s.dirty = true
	g.publish(s)
	if s.serving == t {
		s.serving = nil
	}
	if s.loading == t {
		s.loading = nil
	}
	if err := g.write(s, durable); err != nil {
		return err
	}
	if s.first == t {
		g.probation(s, s.serving)
	}
	return nil
}

// Confirm takes the version off probation at once. It does nothing if the version is not on probation.
func (g *Guard) Confirm(rec dataset.VersionRecord) error {
	if g == nil {
		return nil
	}
	s := g.lock(rec.Dataset)
	if s == nil {
		return ErrBusy
	}
	var err error
	var confirmed *Mark
	for _, t := range []*Mark{s.serving, s.loading, s.first} {
		if t != nil && t.ref == rec.Ref() {
			confirmed, err = t, g.confirm(s, t, true)
			break
		}
	}
	s.unlock()
	return errors.Join(err, g.settle(confirmed))
}
