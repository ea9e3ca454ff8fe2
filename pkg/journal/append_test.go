package journal_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/store"
)

func note(kind, request string, content any) journal.Note {
	return journal.Note{
		Kind: kind, By: "ann@host", Reason: "a test", RequestID: request,
		Content: func(context.Context, uint64) (any, error) { return content, nil },
	}
}

func TestAppend(t *testing.T) {
	var sent []string
	j := open(t, openStore(t, t.TempDir()), func(_ context.Context, e dataset.Entry) error { sent = append(sent, e.ID()); return nil })
	appended := func(n journal.Note, number uint64, repeated bool) {
		t.Helper()
		a, err := j.Append(t.Context(), "prices", n)
		if err != nil || a.Entry.Number != number || a.Repeated != repeated || a.Announced == (repeated || number == 0) {
			t.Errorf("%+v, %v", a, err)
		}
	}
	newest := func(want uint64, kinds ...string) {
		t.Helper()
		if e, err := j.Newest(t.Context(), "prices", kinds...); err != nil || e.Number != want {
			t.Errorf("the newest of %q is %d, %v; want %d", kinds, e.Number, err, want)
		}
	}
	newest(0, "pin")
	appended(note("pin", "r-1", map[string]int{"version": 3}), 1, false)
	appended(note("replay", "r-1", map[string]int{"version": 3}), 2, false) // the id counts within a kind
	appended(note("pin", "r-1", nil), 1, true)
	appended(note("pin", "", nil), 0, false) // nothing to write
	newest(1, "pin")
	newest(2, "pin", "replay")
	newest(0, "unpin")
	if r := set(t, j, "prices", `{"min_records":2}`); r.Entry.Number != 3 {
		t.Errorf("%+v", r)
	}
	newest(2, "pin", "replay")
	if strings.Join(sent, " ") != "prices/1 prices/2 prices/3" {
		t.Errorf("announced: %q", sent)
	}
	if e, err := j.Newest(t.Context(), "prices", "pin"); err != nil || e.By != "ann@host" || e.Reason != "a test" || string(e.Content) != `{"version":3}` {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestAppendFails(t *testing.T) {
	st := openStore(t, t.TempDir())
	j := open(t, st, nil)
	broken := errors.New("broken")
	_, err := j.Append(t.Context(), "prices", journal.Note{Kind: "pin", Content: func(context.Context, uint64) (any, error) { return nil, broken }})
	if !errors.Is(err, broken) {
		t.Errorf("an error of Content: %v", err)
	}
	for kind, content := range map[string]any{"Pin": struct{}{}, "pin": []int{1}, "big": map[string]string{"a": strings.Repeat("x", dataset.MaxEntryBytes)}} {
		if _, err := j.Append(t.Context(), "prices", note(kind, "", content)); !errors.Is(err, dataset.ErrEntry) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	// An answer that is lost, with and without the entry in the store, leads to one entry.
	for i, puts := range []bool{true, false} {
		st.putFails, st.puts = store.ErrUnknown, puts
		if a, err := j.Append(t.Context(), "prices", note("pin", "", struct{}{})); err != nil || a.Entry.Number != uint64(i+1) || a.Repeated {
			t.Errorf("puts %t: %+v, %v", puts, a, err)
		}
	}
}

// Of concurrent entries each follows the one before.
func TestAppendRaces(t *testing.T) {
	folder := t.TempDir()
	p := pool.New().WithErrors()
	for range 4 {
		j := open(t, openStore(t, folder), nil)
		p.Go(func() error {
			for range 10 {
				var follows uint64
				a, err := j.Append(t.Context(), "prices", journal.Note{Kind: "pin", Content: func(_ context.Context, newest uint64) (any, error) {
					follows = newest
					return struct{}{}, nil
				}})
				if err != nil {
					return err
				}
				if a.Entry.Number != follows+1 {
					return errors.New("an entry does not follow the one that its content was made for")
				}
			}
			return nil
		})
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	j := open(t, openStore(t, folder), nil)
	if e, err := j.Newest(t.Context(), "prices", "pin"); err != nil || e.Number != 40 {
		t.Errorf("%d, %v", e.Number, err)
	}
}
