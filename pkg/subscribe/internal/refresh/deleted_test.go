package refresh

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// keep loads rec, which deletes its dataset.
func keep(rec dataset.VersionRecord, served *Served[string]) Loaded[string, string] {
	l := Loaded[string, string]{Record: rec, NoValue: true}
	if served != nil && !served.NoValue {
		l.NoValue, l.Value, l.Kept = false, served.Value, &Kept{}
		l.Kept.Record, l.Kept.ID = served.Content()
	}
	return l
}

func (r *rig) delete(name string, version uint64, drop bool) {
	rec := rec(name, version)
	rec.Deleted, rec.Dropped, rec.By, rec.Reason = true, drop, "ann", "it was mistyped"
	r.versions <- rec
	synctest.Wait()
}

// state returns the state of prices.
func (r *rig) state() fleet.State {
	_, _, j := r.engine.Judge("prices")
	return j.State
}

// readers checks the value that readers have; empty for none.
func (r *rig) readers(want string) {
	r.t.Helper()
	got := ""
	if v := r.engine.Current("prices").Load(); v != nil {
		got = v.Value
	}
	if got != want {
		r.t.Errorf("readers have %q, want %q", got, want)
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestDeletedVersionKeepsTheValue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		finished := errors.New("the disk is full")
		r.finish = func(string, bool) error { return finished }
		r.start(config)
		r.announce("prices", 1)
		gone := r.engine.Gone("prices")
		r.delete("prices", 2, false)
		r.serves("prices", 2)
		r.readers("prices/1")
		v := r.engine.Served("prices")
		if content, id := v.Content(); content.Version != 1 || id != rec("prices", 1).VersionID() || v.ID == id {
			t.Errorf("the content is %+v with the id %s", content, id)
		}
		if h := r.engine.Health("prices"); h.FinishErr == nil || h.Why(fleet.Deleted, &v.Record) != "version 2 is deleted by ann, because it was mistyped (0001-01-01T00:00:00Z)" {
			t.Errorf("the health is %+v: %s", h, h.Why(fleet.Deleted, &v.Record))
		}
		if r.state() != fleet.Deleted || isClosed(gone) {
			t.Errorf("the dataset is %s", r.state())
		}
		pass(time.Hour)
		if r.state() != fleet.Blind {
			t.Errorf("without beacons the dataset is %s", r.state())
		}
		r.announce("prices", 3)
		r.serves("prices", 3)
		r.readers("prices/3")
		if content, _ := r.engine.Served("prices").Content(); content.Version != 3 {
			t.Errorf("the content is %+v", content)
		}
		r.delete("prices", 4, true)
		r.readers("prices/4") // the Loader's value of a dropped table
		r.wantLoads("prices/1", "prices/2", "prices/3", "prices/4")
	})
}

// Without a value, readers go on having none, and each deleted version is reported.
func TestDeletedVersionWithoutAValue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start(config)
		first, gone := r.engine.First("prices"), r.engine.Gone("prices")
		r.delete("prices", 5, false)
		r.serves("prices", 5)
		r.readers("")
		if isClosed(first) || !isClosed(gone) || r.state() != fleet.Deleted {
			t.Errorf("first is closed: %t, gone is closed: %t; the dataset is %s", isClosed(first), isClosed(gone), r.state())
		}
		gone = r.engine.Gone("prices")
		r.announce("prices", 4) // a no-op
		if isClosed(gone) {
			t.Error("an older version counts as deleted")
		}
		r.delete("prices", 6, false)
		if !isClosed(gone) || isClosed(first) {
			t.Error("a second deleted version is not reported")
		}
		r.announce("prices", 7)
		r.readers("prices/7")
		if !isClosed(first) {
			t.Error("a version after the deleted one is not the first")
		}
		if r.engine.Gone("unknown") != nil {
			t.Error("an unknown dataset is gone")
		}
	})
}

// The stored version is served, and deleted again.
func TestStoredVersionIsDeletedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.stored = map[string]uint64{"prices": 1}
		r.start(config)
		r.readers("stored")
		r.delete("prices", 2, false)
		r.serves("prices", 2)
		r.readers("stored")
		if r.state() != fleet.Deleted {
			t.Errorf("the dataset is %s", r.state())
		}
	})
}
