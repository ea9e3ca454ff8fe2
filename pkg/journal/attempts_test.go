package journal_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/store"
)

// slow is a store that calls after once, when it has put an entry and has not answered yet.
type slow struct {
	store.Store
	after func()
}

func (s *slow) PutEntry(ctx context.Context, e dataset.Entry) error {
	err := s.Store.PutEntry(ctx, e)
	if after := s.after; after != nil {
		s.after = nil
		after()
	}
	return err
}

// A change whose answer comes late does not hide the change after it.
func TestLateAnswer(t *testing.T) {
	st := &slow{Store: openStore(t, t.TempDir())}
	j := open(t, st, nil)
	st.after = func() { set(t, j, "prices", `{"min_records":2}`) }
	set(t, j, "prices", `{"min_records":1}`)
	if settings, err := j.Of(t.Context(), "prices"); err != nil || settings.Gates.MinRecords != 2 {
		t.Errorf("the gates are %+v, %v", settings, err)
	}
	st.after = func() {
		if _, err := j.Settings(t.Context(), "cities"); err != nil { // it finds the entry before its Set does
			t.Error(err)
		}
	}
	set(t, j, "cities", `{"min_records":3}`)
	if settings, err := j.Of(t.Context(), "cities"); err != nil || settings.Gates.MinRecords != 3 {
		t.Errorf("the gates are %+v, %v", settings, err)
	}
}

// A request with an id is not made twice, also if other changes came after it.
func TestRequestIDs(t *testing.T) {
	st := openStore(t, t.TempDir())
	j := open(t, st, nil)
	one := journal.Change{Set: values(`{"min_records":1}`), Reason: "x", RequestID: "r-1"}
	request := func(c journal.Change, changed bool, number, minRecords uint64, warning string) {
		t.Helper()
		r, err := j.Set(t.Context(), "prices", c)
		if err != nil || r.Changed != changed || r.Entry.Number != number || r.Settings.Gates.MinRecords != minRecords || !strings.Contains(strings.Join(r.Warnings, ""), warning) || warning == "" && len(r.Warnings) > 0 {
			t.Errorf("%s: %+v, %v", c.RequestID, r, err)
		}
	}
	request(one, true, 1, 1, "")
	request(one, false, 1, 1, "")
	set(t, j, "prices", `{"min_records":2}`)
	request(one, false, 1, 1, "made the change, as journal entry 1, and this one changed nothing; entries up to 2 follow")
	if settings, err := j.Of(t.Context(), "prices"); err != nil || settings.Gates.MinRecords != 2 {
		t.Errorf("the gates are %+v, %v", settings, err)
	}
	set(t, j, "prices", `{"min_records":null,"max_records":1}`)
	five := journal.Change{Set: values(`{"min_records":5,"max_records":null}`), Reason: "x", RequestID: "r-5", Replace: true}
	request(five, true, 4, 5, "")
	set(t, j, "prices", `{"min_records":null,"max_records":4}`)
	request(five, false, 4, 5, "entries up to 5 follow")
	other := one
	other.Set = values(`{"min_records":3}`)
	if _, err := j.Set(t.Context(), "prices", other); !errors.Is(err, journal.ErrChange) || !strings.Contains(err.Error(), `journal entry 1, of another change, has the request id "r-1"`) {
		t.Errorf("%v", err)
	}
	// A damaged entry hides no other.
	place := st.EntryPlace("prices", 2)
	if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	request(one, false, 1, 1, "an earlier request")
	one.RequestID = ""
	request(one, true, 6, 1, "")
}
