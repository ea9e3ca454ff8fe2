package verify_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/verify"
)

// set changes a setting of a dataset, or all if replace is true.
func (s *site) set(t *testing.T, name, setting, value string, replace bool) {
	t.Helper()
	_, err := s.journal(t).Set(t.Context(), name, journal.Change{
		Set: map[string]json.RawMessage{setting: json.RawMessage(value)}, Replace: replace, Reason: "a test",
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) journal(t *testing.T) *journal.Journal {
	t.Helper()
	return must(journal.New(journal.Config{Fresh: -1}, journal.Deps{Store: s.store}))
}

// gated returns a publisher that reads the gates in the journal.
func (s *site) gated(t *testing.T) *publish.Publisher {
	t.Helper()
	return must(publish.Open(publish.Config{TempDir: t.TempDir(), Settings: s.journal(t).Of}, publish.Deps{Store: s.store}))
}

// entry verifies the store and returns the one finding, of the journal entry with the number. It checks that the texts are in it.
func (s *site) entry(t *testing.T, name string, number uint64, texts ...string) verify.Finding {
	t.Helper()
	findings, totals := s.verify(t, s.reopen(t))
	if len(findings) != 1 || totals.Findings != 1 {
		t.Fatalf("found %+v", findings)
	}
	f := findings[0]
	if f.Kind != verify.KindEntry || f.Dataset != name || f.Entry != number || f.Version != 0 || f.Place != s.store.EntryPlace(name, number) || len(f.Lost) > 0 {
		t.Errorf("found %+v", f)
	}
	for _, text := range texts {
		if !strings.Contains(f.Problem+"\n"+f.Effect+"\n"+f.Remedy, text) {
			t.Errorf("%q is not in the finding:\n%s\n%s\n%s", text, f.Problem, f.Effect, f.Remedy)
		}
	}
	return f
}

func TestDamagedEntries(t *testing.T) { testDamagedEntries(t, newDirSite(t)) }

// The same in a bucket.
func TestDamagedEntriesInABucket(t *testing.T) { testDamagedEntries(t, newS3Site(t)(t)) }

// A damaged journal entry is found. The effect that the finding names holds, and its two remedies work.
func testDamagedEntries(t *testing.T, s *site) {
	s.fill(t)
	s.set(t, "prices", "min_records", "5", false)
	s.set(t, "prices", "max_records", "5000", false)
	s.clean(t)
	places := []string{"", s.file(s.store.EntryPlace("prices", 1)), s.file(s.store.EntryPlace("prices", 2))}
	good := [][]byte{nil, must(os.ReadFile(places[1])), must(os.ReadFile(places[2]))}
	putBack := func(number int) {
		t.Helper()
		_ = os.Remove(places[number])
		if err := os.WriteFile(places[number], good[number], 0o600); err != nil {
			t.Fatal(err)
		}
	}

	s.flip(t, s.store.EntryPlace("prices", 1))
	s.entry(t, "prices", 1, "journal entry 1 is lost", "the settings do not need it, entry 2 has them", "put back a good copy of")
	s.remove(t, s.store.EntryPlace("prices", 1))
	s.entry(t, "prices", 1, "it is missing, although entry 2 exists")
	putBack(1)
	s.clean(t)

	// The newest settings are damaged.
	s.flip(t, s.store.EntryPlace("prices", 2))
	s.entry(t, "prices", 2, "no version with other content is published", "or set all settings again: `freshet settings prices --replace --set NAME=VALUE --reason TEXT`")
	changed := publish.PatchInput{Input: publish.Input{Body: strings.NewReader(line(7, 700)), Key: "id"}}
	if _, err := s.gated(t).Patch(t.Context(), "prices", changed); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("the effect does not hold: %v", err)
	}
	s.set(t, "prices", "max_records", "6000", true) // one remedy
	changed.Body = strings.NewReader(line(7, 700))
	if rec := must(s.gated(t).Patch(t.Context(), "prices", changed)).Record; rec.Version != 6 {
		t.Errorf("published %+v", rec)
	}
	s.entry(t, "prices", 2, "the settings do not need it, entry 3 has them")
	putBack(2) // the other one
	s.clean(t)

	// A dataset may have settings before it has a version.
	s.set(t, "rules", "min_records", "1", false)
	s.clean(t)
	s.overwrite(t, s.store.EntryPlace("rules", 1), func([]byte) []byte { return []byte("{") })
	s.entry(t, "rules", 1, "freshet settings rules --replace")
	if findings, _ := s.verify(t, s.store, "prices"); len(findings) > 0 {
		t.Errorf("found %+v in another dataset", findings)
	}
	s.set(t, "rules", "min_records", "1", true)
	must(s.gated(t).Publish(t.Context(), "rules", publish.Input{Body: strings.NewReader(`{"id":"a"}`), Key: "id"}))
	s.entry(t, "rules", 1, "entry 2 has them")
}

// An entry whose content is no change of settings is damaged, as the publisher sees it. A long journal is read in pages.
func TestEntryWithoutSettings(t *testing.T) {
	s := newDirSite(t)
	s.set(t, "rules", "min_records", "1", false)
	e := must(s.store.Entry(t.Context(), "rules", 1))
	for e.Number = 2; e.Number < 150; e.Number++ {
		e.Kind, e.Content = "note", json.RawMessage(`{}`)
		if e.Number == 100 {
			e.Kind, e.Content = dataset.EntrySettings, json.RawMessage(`{"settings":"none"}`)
		}
		if err := s.store.PutEntry(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.journal(t).Settings(t.Context(), "rules"); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("error is %v", err)
	}
	s.entry(t, "rules", 100, "its content is not a change of settings", "no version with other content is published")
}
