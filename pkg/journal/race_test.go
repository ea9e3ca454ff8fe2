package journal_test

import (
	"context"
	"testing"

	"freshet.dev/pkg/dataset"
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
	if gates, err := j.Gates(t.Context(), "prices"); err != nil || gates.MinRecords != 2 {
		t.Errorf("the gates are %+v, %v", gates, err)
	}
	st.after = func() {
		if _, err := j.Settings(t.Context(), "cities"); err != nil { // it finds the entry before its Set does
			t.Error(err)
		}
	}
	set(t, j, "cities", `{"min_records":3}`)
	if gates, err := j.Gates(t.Context(), "cities"); err != nil || gates.MinRecords != 3 {
		t.Errorf("the gates are %+v, %v", gates, err)
	}
}
