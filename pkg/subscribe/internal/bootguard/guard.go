package bootguard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// maxDeaths is the number of processes that died of a version at which it is quarantined.
const maxDeaths = 2

// patience is how long a call waits for another call for the same dataset, which may be using a slow disk. A disk that hangs ends both
// calls (see [cachedir.ErrHangs]).
const patience = time.Second

// ErrBusy is returned when no mark could be set because another call for the dataset is using a slow disk.
var ErrBusy = errors.New("the version is not guarded: the disk of the cache folder is slow")

// errSlow is returned when a confirmation is in boot.json, but may not survive a power failure yet.
var errSlow = fmt.Errorf("the disk of the cache folder has not answered for %s", patience)

// bootFile has the id of the machine's boot on Linux.
const bootFile = "/proc/sys/kernel/random/boot_id"

// BootID returns the id of the machine's boot; empty if it cannot be read. Without it no death is counted.
func BootID() string {
	text, err := os.ReadFile(bootFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Guard guards the versions of an instance. A nil *Guard does nothing.
type Guard struct {
	// Died, if not nil, is called for each counted death with the deaths of the version. It must be set before Begin.
	Died func(name string, d cachedir.Deaths)

	dir    *cachedir.Dir
	after  time.Duration
	bootID string
	states map[string]*state // not changed after New
	wake   wake.Signal       // wakes Run: a version is on probation

	counting *semaphore.Weighted // a mutex: held while the death of the previous process is counted
	counted  atomic.Bool

	mu  sync.Mutex
	due map[string]time.Time // by dataset: when its first version on probation is confirmed; guarded by mu
}

// state is the state of a dataset.
type state struct {
	name   string
	mutex  *semaphore.Weighted // a mutex: held while boot.json or a field below is read or changed
	barred atomic.Pointer[[]refresh.Barred]

	begun   bool            // boot has the content of the file, and this process holds the folder
	died    cachedir.Deaths // of the version that the previous process died of
	stopped bool            // the process is stopping
	boot    cachedir.Boot
	dirty   bool // boot differs from the file
	loading *Mark
	serving *Mark // nil if the served version is confirmed, or if there is none
	first   *Mark // the earliest version that was served and is not confirmed; a later version may have replaced it
}

// Mark is the mark of a version that is being tried.
type Mark struct {
	rec   dataset.VersionRecord
	ref   dataset.Ref
	first int64     // as in cachedir.Trial
	since time.Time // when the version was swapped in
}

// New returns the guard of the datasets in dir. It confirms a version that was served for the duration after. bootID is the id of the
// current boot of the machine.
func New(dir *cachedir.Dir, names []string, after time.Duration, bootID string) *Guard {
	dir.Retain()
	g := &Guard{
		dir: dir, after: after, bootID: bootID, states: make(map[string]*state), wake: wake.New(), due: make(map[string]time.Time),
		counting: semaphore.NewWeighted(1),
	}
	for _, name := range names {
		s := &state{name: name, mutex: semaphore.NewWeighted(1)}
		s.barred.Store(new([]refresh.Barred))
		g.states[name] = s
	}
	return g
}

// lock locks the dataset. It returns nil if there is no such dataset, or if the lock is not free in time.
func (g *Guard) lock(name string) *state {
	if g == nil || g.states[name] == nil {
		return nil
	}
	s := g.states[name]
	if s.mutex.TryAcquire(1) {
		return s
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.mutex.Acquire(ctx, 1) != nil {
		return nil
	}
	return s
}

func (s *state) unlock() { s.mutex.Release(1) }

// Barred returns the dataset's quarantined versions. It does not block.
func (g *Guard) Barred(name string) []refresh.Barred {
	if g == nil || g.states[name] == nil {
		return nil
	}
	return *g.states[name].barred.Load()
}

// Bars reports whether the version is quarantined.
func (g *Guard) Bars(name string, id dataset.VersionID) bool {
	return g != nil && g.states[name] != nil && g.states[name].bars(dataset.Ref{ID: id})
}

// Try sets the mark of a version before the version is loaded. If it fails, there is no mark. The caller must call Swapped, Serve or Undo
// with the mark.
func (g *Guard) Try(rec dataset.VersionRecord) (*Mark, error) {
	return g.try(rec, func(*state) {})
}

// try is Try, and calls prepare before it sets the mark.
func (g *Guard) try(rec dataset.VersionRecord, prepare func(*state)) (*Mark, error) {
	if g == nil || g.bootID == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.count(ctx); err != nil {
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

func (g *Guard) mark(s *state, rec dataset.VersionRecord) (m *Mark, err error) {
	if s.stopped {
		return nil, nil // the folder may be closed, so it must not be locked
	}
	err = g.begin(s)
	ref := rec.Ref()
	if err == nil && !s.boot.IsConfirmed(ref.ID) {
		m = &Mark{rec: rec, ref: ref, first: time.Now().UnixNano()}
		if d := s.boot.Of(ref.ID); d.Count > 0 {
			m.first = d.First
		}
		s.loading = m
		err = g.write(s)
	}
	if errors.Is(err, cachedir.ErrShared) {
		return nil, nil // the process that holds the folder has its own mark in it
	}
	return m, err
}

// write updates boot.json without a sync. It does nothing if the file is up to date.
func (g *Guard) write(s *state) error {
	m := s.loading
	if m == nil {
		m = s.serving
	}
	var trying *cachedir.Trial
	if m != nil && !s.stopped {
		trying = &cachedir.Trial{Ref: m.ref, Boot: g.bootID, First: m.first}
	}
	if old := s.boot.Trying; (old == nil) != (trying == nil) || old != nil && *old != *trying {
		s.boot.Trying, s.dirty = trying, true
	}
	if !s.dirty || !s.begun {
		return nil
	}
	err := g.dir.SetBoot(s.name, s.boot)
	s.dirty = err != nil
	return err
}

// Undo removes the mark of a version that could not be loaded. A mark of a later Try stays, also if it is of the same version.
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
		_ = g.write(s) // if that fails, the next mark replaces this one
	}
}

// Swapped records that the version rec is served. The version is on probation from now on, unless it is confirmed. m is its mark; nil if
// Try set none.
func (g *Guard) Swapped(rec dataset.VersionRecord, m *Mark) error {
	settle, err := g.Serve(rec, m)
	return errors.Join(err, settle())
}

// Serve is the fast part of Swapped. The caller calls settle afterwards.
func (g *Guard) Serve(rec dataset.VersionRecord, m *Mark) (settle func() error, err error) {
	s := g.lock(rec.Dataset)
	if s == nil {
		return func() error { return nil }, nil
	}
	confirmed, err := g.serve(s, m)
	s.unlock()
	return func() error { return g.settle(confirmed) }, err
}

// serve records that the version of m is served, and returns the mark of the version that this confirms; nil if there is none.
func (g *Guard) serve(s *state, m *Mark) (confirmed *Mark, err error) {
	s.serving = nil
	if s.loading == m {
		s.loading = nil
	}
	if m == nil || s.stopped || s.boot.IsConfirmed(m.ref.ID) {
		return nil, g.write(s)
	}
	s.serving = m
	m.since = time.Now()
	if s.first == nil {
		g.setFirst(s, m)
	}
	if g.after <= time.Since(s.first.since) {
		confirmed = s.first
		if err = g.confirm(s, confirmed); err == nil {
			g.setFirst(s, s.serving)
		}
		return confirmed, err
	}
	return nil, g.write(s)
}

// setFirst makes m the version that is confirmed next; nil for none.
func (g *Guard) setFirst(s *state, m *Mark) {
	s.first = m
	g.mu.Lock()
	defer g.mu.Unlock()
	if m == nil {
		delete(g.due, s.name)
		return
	}
	g.due[s.name] = m.since.Add(g.after)
	g.wake.Set()
}

// Adopt is Try for the version rec, whose content is that of the version old. If old is confirmed, so is rec. Otherwise its probation begins.
func (g *Guard) Adopt(old dataset.VersionID, rec dataset.VersionRecord) (*Mark, error) {
	return g.try(rec, func(s *state) {
		if s.begun && s.boot.IsConfirmed(old) {
			s.boot.Confirm(rec.Ref())
			s.dirty = true
		}
	})
}

// settle drops the versions that the folder kept until the version of m was confirmed. It does nothing if m is nil. It may take long, so
// the caller must not hold the lock of the dataset.
func (g *Guard) settle(m *Mark) error {
	if m == nil {
		return nil
	}
	return g.dir.Settle(m.rec.Dataset, m.rec)
}

// confirm ends the probation of m, for which no later death counts. The caller then calls confirmed, or setFirst and settle.
func (g *Guard) confirm(s *state, m *Mark) error {
	s.boot.Confirm(m.ref)
	s.dirty = true
	g.publish(s)
	if s.serving == m {
		s.serving = nil
	}
	if s.loading == m {
		s.loading = nil
	}
	return g.write(s)
}

// confirmed completes confirm: it makes the confirmation survive a power failure, and drops the versions that the folder kept until then.
// The sync may take long, so the caller must not hold the lock of the dataset. If ctx ends before, or after another failure, Run retries
// to confirm m.
func (g *Guard) confirmed(ctx context.Context, m *Mark) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errSlow)
	defer cancel()
	if err := g.dir.SyncBoot(ctx, m.rec.Dataset); err != nil {
		return err
	}
	s := g.lock(m.rec.Dataset)
	if s == nil {
		return ErrBusy
	}
	if s.first == m {
		g.setFirst(s, s.serving)
	}
	s.unlock()
	return g.settle(m)
}

// Confirm ends the probation of the version immediately. It does nothing if the version is not on probation.
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
	for _, m := range []*Mark{s.serving, s.loading, s.first} {
		if m != nil && m.ref == rec.Ref() {
			confirmed, err = m, g.confirm(s, m)
			break
		}
	}
	s.unlock()
	if err != nil || confirmed == nil {
		return err
	}
	return g.confirmed(context.Background(), confirmed)
}
