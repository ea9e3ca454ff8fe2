package journal_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/journal"
)

func TestFill(t *testing.T) {
	st := openStore(t, t.TempDir())
	j := open(t, st, nil)
	set(t, j, "prices", `{"min_records":5}`)
	fill := func(text, want string) {
		t.Helper()
		s, err := j.Fill(t.Context(), "prices", values(text), "ann@host", "the first publish")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(s); err != nil || string(got) != want {
			t.Errorf("the settings are %s, %v; want %s", got, err, want)
		}
	}
	fill(`{"key":"id","min_records":6}`, `{"key":"id","min_records":5}`)
	fill(`{"key":"sku"}`, `{"key":"id","min_records":5}`)
	current, err := j.Settings(t.Context(), "prices")
	if err != nil || current.Entry.Number != 2 || current.Entry.By != "ann@host" || current.Entry.Reason != "the first publish" {
		t.Errorf("%+v, %v", current, err)
	}
	if _, err := j.Fill(t.Context(), "prices", values(`{"number_keys":"float"}`), "", "x"); !errors.Is(err, dataset.ErrSettings) || !errors.Is(err, journal.ErrChange) {
		t.Errorf("error is %v", err)
	}
}

// Several processes that fill a setting all get the value of one of them.
func TestConcurrentFills(t *testing.T) {
	folder := t.TempDir()
	keys := []string{`{"key":"a"}`, `{"key":"b"}`, `{"key":"c"}`}
	got := make([]dataset.Settings, len(keys))
	fills := pool.New().WithErrors()
	for i, key := range keys {
		j := open(t, openStore(t, folder), nil)
		fills.Go(func() (err error) {
			got[i], err = j.Fill(t.Context(), "prices", values(key), "", "race")
			return err
		})
	}
	if err := fills.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, s := range got {
		if len(s.Input.Key) != 1 || !slices.Equal(s.Input.Key, got[0].Input.Key) {
			t.Errorf("the keys are %q and %q", s.Input.Key, got[0].Input.Key)
		}
	}
	if newest, err := openStore(t, folder).NewestEntry(t.Context(), "prices"); err != nil || newest != 1 {
		t.Errorf("there are %d entries, %v", newest, err)
	}
}
