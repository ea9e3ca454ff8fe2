package lineage_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/lineage"
)

// id is the id of a version in the history called by a letter.
func id(history byte, version uint64) dataset.VersionID {
	return dataset.VersionID{history, byte(version)}
}

func ref(history byte, version uint64) dataset.Ref {
	return dataset.Ref{Version: version, ID: id(history, version)}
}

// served returns a served version of the history, whose record names only the versions back to the number named.
func served(history byte, version, named uint64) lineage.Served {
	rec := dataset.VersionRecord{StoreID: dataset.StoreID{1}, Dataset: "prices", Version: version}
	if named < version {
		rec.Previous = id(history, version-1)
	}
	for v := named; v < version && version > named+1; v++ {
		rec.Deltas = append(rec.Deltas, dataset.Object{Version: v + 1, From: id(history, v)})
	}
	return lineage.Served{Record: &rec, ID: id(history, version)}
}

// shop is a store that a test changes.
type shop struct {
	mu      sync.Mutex
	history byte
	newest  uint64
	err     error
	asked   []uint64
	gate    chan struct{} // if not nil, answers wait for it
}

func (s *shop) ask(version uint64) (dataset.VersionID, error) {
	s.mu.Lock()
	s.asked = append(s.asked, version)
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return dataset.VersionID{}, s.err
	case version > s.newest:
		return dataset.VersionID{}, lineage.ErrNone
	}
	return id(s.history, version), nil
}

func (s *shop) set(change func(s *shop)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// queries returns the number of queries since the last call.
func (s *shop) queries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.asked)
	s.asked = nil
	return n
}

func onGoroutine(f func()) bool {
	go f()
	return true
}

// settle judges until no query is in flight.
func settle(l *lineage.Lineage, v lineage.Served, want dataset.Ref) lineage.Verdict {
	for {
		verdict := l.Judge(v, want, time.Now().Add(-time.Minute))
		if verdict.Answered == nil {
			return verdict
		}
		<-verdict.Answered
	}
}

// The record of the served version decides alone, and at once.
func TestRecordsDecide(t *testing.T) {
	s := &shop{history: 'a', newest: 30}
	l := lineage.New(s.ask, onGoroutine)
	for name, c := range map[string]struct {
		served lineage.Served
		want   dataset.Ref
	}{
		"the version":                   {served('a', 17, 16), ref('a', 17)},
		"the version before":            {served('a', 18, 17), ref('a', 17)},
		"a version that a delta leaves": {served('a', 20, 15), ref('a', 15)},
	} {
		if got := l.Judge(c.served, c.want, time.Now()); !got.Satisfied || !lineage.Satisfies(c.served, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, c := range map[string]struct {
		served lineage.Served
		want   dataset.Ref
	}{
		"nothing is served":    {lineage.Served{}, ref('a', 17)},
		"a lower version":      {served('a', 16, 15), ref('a', 17)},
		"another id":           {served('b', 17, 16), ref('a', 17)},
		"another history":      {served('b', 18, 15), ref('a', 17)},
		"an unknown served id": {lineage.Served{Record: served('a', 17, 16).Record}, ref('a', 17)},
		"too far back to tell": {served('a', 18, 17), ref('a', 16)},
	} {
		if lineage.Satisfies(c.served, c.want) {
			t.Errorf("%s: it satisfies", name)
		}
	}
	if n := s.queries(); n != 0 {
		t.Errorf("the store was queried %d times", n)
	}
	if n := testing.AllocsPerRun(100, func() { lineage.Satisfies(served20, ref('a', 15)) }); n != 0 {
		t.Errorf("Satisfies allocates %v times", n)
	}
}

var served20 = served('a', 20, 15)

// A version whose record does not name the wanted one is in its history if the store has both. The answer stays true for the versions after
// it, whatever the store says later.
func TestStoreDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{history: 'a', newest: 30}
		l := lineage.New(s.ask, onGoroutine)
		if got := settle(l, served('a', 25, 24), ref('a', 3)); !got.Satisfied || s.queries() != 2 {
			t.Errorf("%+v", got)
		}
		s.set(func(s *shop) { s.err = errors.New("the relays are down") })
		time.Sleep(2 * lineage.Fresh)
		for version := uint64(25); version < 30; version++ {
			if got := settle(l, served('a', version, version-1), ref('a', 3)); !got.Satisfied || s.queries() != 0 {
				t.Errorf("version %d: %+v", version, got)
			}
		}
		// After a gap the record does not lead back to a version that is known to have it.
		got := settle(l, served('a', 35, 34), ref('a', 3))
		if got.Satisfied || !got.Other.IsZero() || !got.Again.Equal(time.Now().Add(lineage.Retry)) || !strings.Contains(got.Why, "the relays are down") || s.queries() != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// After a restore of the store, a number names another version. It satisfies nothing, and the store's answer ends the wait.
func TestOtherHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{history: 'b', newest: 30}
		l := lineage.New(s.ask, onGoroutine)
		for name, v := range map[string]lineage.Served{
			"nothing": {}, "a lower version": served('b', 5, 4), "its number": served('b', 17, 16), "the next": served('b', 18, 17), "a later one": served('b', 25, 24),
			"a version of the lost history": served('a', 25, 24),
		} {
			if got := settle(l, v, ref('a', 17)); got.Satisfied || got.Other != id('b', 17) {
				t.Errorf("%s is served: %+v", name, got)
			}
		}
		if n := s.queries(); n < 4 || n > 6 {
			t.Errorf("%d queries, want one for each served version that is not below", n)
		}
		for _, want := range []dataset.Ref{ref('a', 17), ref('c', 17)} {
			if got := settle(l, served('a', 25, 24), want); got.Other != id('b', 17) {
				t.Errorf("%+v", got)
			}
		}
		if n := s.queries(); n > 1 {
			t.Errorf("%d queries for two versions with one number", n)
		}
		// The wanted version is the store's, and the served one is of the lost history: the instance will move.
		for name, v := range map[string]lineage.Served{
			"its number": served('a', 17, 16), "a later one": served('a', 25, 24), "one that names another": served('a', 20, 16), "the next": served('a', 18, 17),
		} {
			if got := settle(l, v, ref('b', 17)); got.Satisfied || !got.Other.IsZero() || got.Answered != nil {
				t.Errorf("%s is served: %+v", name, got)
			}
		}
		// The restore is undone.
		s.set(func(s *shop) { s.history = 'a' })
		time.Sleep(lineage.Fresh)
		if got := settle(l, served('a', 25, 24), ref('a', 17)); !got.Satisfied {
			t.Errorf("%+v", got)
		}
	})
}

// For a version above the served one the store is not queried before a while has passed, then once for all callers, and again when the answer
// is old.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{history: 'a', newest: 16}
		l := lineage.New(s.ask, onGoroutine)
		began := time.Now()
		got := l.Judge(served('a', 16, 15), ref('a', 17), began)
		if got.Satisfied || got.Answered != nil || !got.Again.Equal(began.Add(lineage.Patience)) || s.queries() != 0 {
			t.Errorf("%+v", got)
		}
		time.Sleep(lineage.Patience)
		s.set(func(s *shop) { s.gate = make(chan struct{}) })
		for range 3 {
			got = l.Judge(served('a', 16, 15), ref('a', 17), began)
			if got.Answered == nil {
				t.Errorf("%+v", got)
			}
		}
		close(s.gate)
		<-got.Answered
		got = l.Judge(served('a', 16, 15), ref('a', 17), began)
		if got.Answered != nil || !strings.Contains(got.Why, "the relays know no version 17; if the store was restored") || s.queries() != 1 {
			t.Errorf("%+v", got)
		}
		// The answer counts for another served version below, and not for one that has the number.
		if got = l.Judge(served('a', 15, 14), ref('a', 17), began); got.Answered != nil || s.queries() != 0 {
			t.Errorf("%+v", got)
		}
		s.set(func(s *shop) { s.gate, s.newest = nil, 17 })
		if got := settle(l, served('c', 17, 16), ref('b', 17)); got.Other != id('a', 17) || s.queries() != 1 {
			t.Errorf("%+v", got)
		}
		s.set(func(s *shop) { s.newest = 16 })
		time.Sleep(lineage.Fresh)
		if got = l.Judge(served('a', 16, 15), ref('a', 17), began); got.Answered == nil {
			t.Errorf("%+v", got)
		}
		<-got.Answered
	})
}

// A query that panics, and one that cannot start, are unknown answers.
func TestQueriesThatFail(t *testing.T) {
	l := lineage.New(func(uint64) (dataset.VersionID, error) { panic("boom") }, onGoroutine)
	if got := settle(l, served('a', 25, 24), ref('a', 3)); got.Satisfied || !strings.Contains(got.Why, "boom") {
		t.Errorf("%+v", got)
	}
	l = lineage.New(func(uint64) (dataset.VersionID, error) { panic("boom") }, func(func()) bool { return false })
	if got := settle(l, served('a', 25, 24), ref('a', 3)); got.Satisfied || got.Why != "the instance stops" {
		t.Errorf("%+v", got)
	}
}

// However many numbers callers want, the queries in flight and what is remembered are bounded.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{history: 'a', newest: 1 << 20, gate: make(chan struct{})}
		l := lineage.New(s.ask, onGoroutine)
		for version := range uint64(1000) {
			l.Judge(served('a', 5000, 4999), ref('a', version+1), time.Now())
		}
		synctest.Wait()
		if n := s.queries(); n != 64 {
			t.Errorf("%d queries are in flight", n)
		}
		close(s.gate)
		synctest.Wait()
		if got := l.Judge(served('a', 5000, 4999), ref('a', 900), time.Now()); got.Satisfied || got.Answered != nil || got.Again.IsZero() || got.Why == "" {
			t.Errorf("%+v", got)
		}
		for version := range uint64(1000) {
			time.Sleep(lineage.Fresh)
			if got := settle(l, served('a', 5000, 4999), ref('a', version+1)); !got.Satisfied {
				t.Fatalf("version %d: %+v", version+1, got)
			}
		}
	})
}
