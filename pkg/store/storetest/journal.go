package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// entry returns a valid journal entry.
func entry(name string, number uint64, by string) dataset.Entry {
	return dataset.Entry{
		StoreID: dataset.StoreID{1}, Dataset: name, Number: number, Kind: "settings", Time: time.Now().UTC(), By: by,
		Reason: "näme <&>", Content: json.RawMessage(`{"settings":{"min_records":` + fmt.Sprint(number) + `}}`),
		Extra: map[string]json.RawMessage{"later": json.RawMessage(`[1]`)},
	}
}

func putEntry(t *testing.T, st store.Store, e dataset.Entry) {
	t.Helper()
	if err := st.PutEntry(t.Context(), e); err != nil {
		t.Fatalf("put journal entry %s: %v", e.ID(), err)
	}
}

// sameEntry fails the test unless the two entries have the same encoding.
func sameEntry(t *testing.T, got, want dataset.Entry) {
	t.Helper()
	g, err := got.Encode()
	if err != nil {
		t.Fatalf("encode %s as read: %v", want.ID(), err)
	}
	w, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Errorf("%s reads as\n%s\nwant\n%s", want.ID(), g, w)
	}
}

// wantEntries fails the test unless Entries returns the numbers.
func wantEntries(t *testing.T, st store.Store, from uint64, limit int, want ...uint64) {
	t.Helper()
	entries, err := st.Entries(t.Context(), "prices", from, limit)
	var got []uint64
	for _, e := range entries {
		got = append(got, e.Number)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the entries from %d, at most %d: %v, %v; want %v", from, limit, got, err, want)
	}
}

func (s suite) entriesReadAsPut(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	_, err := st.Entry(t.Context(), "prices", 1)
	wantErr(t, "Entry of nothing", err, store.ErrNotFound)
	if newest, err := st.NewestEntry(t.Context(), "prices"); err != nil || newest != 0 {
		t.Errorf("the newest of nothing is %d, %v", newest, err)
	}
	wantEntries(t, st, 0, 0)
	var entries []dataset.Entry
	for number := range uint64(12) {
		entries = append(entries, entry("prices", number+1, fmt.Sprintf("ann %d", number)))
		putEntry(t, st, entries[number])
		if newest, err := st.NewestEntry(t.Context(), "prices"); err != nil || newest != number+1 {
			t.Errorf("the newest is %d, %v; want %d", newest, err, number+1)
		}
	}
	for _, handle := range []store.Store{st, s.open(t, location)} {
		for _, want := range entries {
			got, err := handle.Entry(t.Context(), "prices", want.Number)
			if err != nil {
				t.Fatal(err)
			}
			sameEntry(t, got, want)
		}
		for _, number := range []uint64{0, 13, 1 << 63, 1<<64 - 1} {
			_, err := handle.Entry(t.Context(), "prices", number)
			wantErr(t, fmt.Sprintf("entry %d", number), err, store.ErrNotFound)
		}
		wantEntries(t, handle, 0, 3, 1, 2, 3)
		wantEntries(t, handle, 10, 0, 10, 11, 12)
		wantEntries(t, handle, 11, 1, 11)
		wantEntries(t, handle, 12, 9, 12)
		wantEntries(t, handle, 13, 9)
		wantEntries(t, handle, 1<<64-1, 9)
	}
	putEntry(t, s.open(t, location), entry("prices", 13, "another handle"))
	if newest, err := st.NewestEntry(t.Context(), "prices"); err != nil || newest != 13 {
		t.Errorf("the newest is %d, %v; another handle put 13", newest, err)
	}
}

func (s suite) entriesNeitherRepeatNorSkip(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	try := func(number uint64, want error) {
		t.Helper()
		for _, handle := range []store.Store{st, s.open(t, location)} { // the first knows the newest entry, the second does not
			wantErr(t, fmt.Sprintf("put entry %d", number), handle.PutEntry(t.Context(), entry("prices", number, "q")), want)
		}
	}
	try(2, store.ErrGap)
	first := entry("prices", 1, "p")
	putEntry(t, st, first)
	wantErr(t, "the very same entry again", st.PutEntry(t.Context(), first), store.ErrExists)
	try(1, store.ErrExists)
	try(3, store.ErrGap)
	putEntry(t, st, entry("prices", 2, "p"))
	try(2, store.ErrExists)
	got, err := st.Entry(t.Context(), "prices", 1)
	if err != nil {
		t.Fatal(err)
	}
	sameEntry(t, got, first)
	for _, name := range []string{"", "..", "../prices", "a/b", "Prices"} {
		_, err := st.Entry(t.Context(), name, 1)
		wantErr(t, fmt.Sprintf("Entry of %q", name), err, dataset.ErrName)
		_, err = st.NewestEntry(t.Context(), name)
		wantErr(t, fmt.Sprintf("NewestEntry of %q", name), err, dataset.ErrName)
		_, err = st.Entries(t.Context(), name, 0, 1)
		wantErr(t, fmt.Sprintf("Entries of %q", name), err, dataset.ErrName)
		wantErr(t, fmt.Sprintf("PutEntry of %q", name), st.PutEntry(t.Context(), entry(name, 1, "p")), dataset.ErrEntry)
	}
}

// A journal makes no dataset, and versions no journal.
func (s suite) aJournalIsNoDataset(t *testing.T) {
	st := s.fresh(t)
	lists := func(list func(context.Context) ([]string, error), want ...string) {
		t.Helper()
		if got, err := list(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
	lists(st.Journals)
	putEntry(t, st, entry("prices", 1, "p"))
	putEntry(t, st, entry("cities", 1, "p"))
	commit(t, st, record("rules", 1, "p"))
	commit(t, st, record("cities", 1, "p"))
	lists(st.Datasets, "cities", "rules")
	lists(st.Journals, "cities", "prices")
	if newest, unread, err := st.Newest(t.Context()); err != nil || len(newest) != 2 || len(unread) > 0 {
		t.Errorf("Newest: %v, %v, %v", newest, unread, err)
	}
	_, err := st.Latest(t.Context(), "prices")
	wantErr(t, "Latest of a dataset with a journal alone", err, store.ErrNotFound)
	if newest, err := st.NewestEntry(t.Context(), "rules"); err != nil || newest != 0 {
		t.Errorf("the newest entry of a dataset without a journal is %d, %v", newest, err)
	}
	commit(t, st, record("prices", 1, "p"))
	lists(st.Datasets, "cities", "prices", "rules")
}

// A damaged or lost entry is named, and hides no other.
func (s suite) aDamagedEntryHidesNoOther(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	for number := range uint64(5) {
		putEntry(t, st, entry("prices", number+1, "p"))
	}
	path := func(number uint64) string { return s.File(st.EntryPlace("prices", number)) }
	good, err := os.ReadFile(path(2))
	if err != nil {
		t.Fatal(err)
	}
	overwrite := func(number uint64, b []byte) {
		t.Helper()
		if err := errors.Join(os.Chmod(path(number), 0o644), os.WriteFile(path(number), b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	overwrite(2, flipped)
	other, err := os.ReadFile(path(1))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(5, other) // the newest has the content of another entry
	for _, handle := range []store.Store{st, s.open(t, location)} {
		entries, err := handle.Entries(t.Context(), "prices", 0, 0)
		damaged, ok := errors.AsType[store.EntryErrors](err)
		if !ok || len(entries) != 3 || entries[2].Number != 4 || len(damaged) != 2 || damaged[0].Number != 2 || damaged[1].Number != 5 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		for _, d := range damaged {
			wantErr(t, "a damaged entry", d, store.ErrDamaged)
			for _, part := range []string{handle.EntryPlace("prices", d.Number), "prices", "put back a good copy of it"} {
				if !strings.Contains(d.Error(), part) {
					t.Errorf("%q does not say %q", d, part)
				}
			}
		}
		_, err = handle.Entry(t.Context(), "prices", 2)
		wantErr(t, "Entry", err, store.ErrDamaged)
		if newest, err := handle.NewestEntry(t.Context(), "prices"); err != nil || newest != 5 {
			t.Errorf("the newest is %d, %v", newest, err)
		}
	}
	putEntry(t, st, entry("prices", 6, "after the damage"))
	overwrite(2, good) // the remedy
	if err := os.Remove(path(3)); err != nil {
		t.Fatal(err)
	}
	entries, err := st.Entries(t.Context(), "prices", 0, 4)
	damaged, _ := errors.AsType[store.EntryErrors](err)
	if len(entries) != 3 || len(damaged) != 1 || !strings.Contains(err.Error(), "it is missing, although entry 6 exists") {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

// raceEntries is race for journal entries.
func raceEntries(ctx context.Context, st store.Store, name string, won func(number uint64, by string)) error {
	workers := pool.New().WithErrors()
	for worker := range raceWorkers {
		workers.Go(func() error {
			by := fmt.Sprintf("%s-%d", name, worker)
			for number := uint64(1); number <= raceVersions; number++ {
				switch err := st.PutEntry(ctx, entry(raceDataset, number, by)); {
				case err == nil:
					won(number, by)
				case !errors.Is(err, store.ErrExists): // also ErrGap: this worker has seen the entry before
					return fmt.Errorf("%s: %w", by, err)
				}
			}
			return nil
		})
	}
	return workers.Wait()
}

// checkEntryWins is checkWins for journal entries.
func checkEntryWins(t *testing.T, st store.Store, wins map[uint64][]string) {
	t.Helper()
	entries, err := st.Entries(t.Context(), raceDataset, 0, 0)
	if err != nil || len(entries) != raceVersions {
		t.Fatalf("%d entries exist, %v; want %d", len(entries), err, raceVersions)
	}
	for _, e := range entries {
		if winners := wins[e.Number]; len(winners) != 1 || winners[0] != e.By {
			t.Errorf("entry %d is by %s; these won it: %v", e.Number, e.By, winners)
		}
	}
}

func (s suite) oneGoroutineWinsEachEntry(t *testing.T) {
	location := s.Location(t)
	checkEntryWins(t, s.open(t, location), s.raceHandles(t, location, raceEntries))
}

func (s suite) oneProcessWinsEachEntry(t *testing.T) {
	location := s.Location(t)
	wins := raceProcesses(t, roleEntryRace, location)
	checkEntryWins(t, s.open(t, location), wins)
}

// entryRaceChild is the role of a child process of oneProcessWinsEachEntry.
func entryRaceChild(ctx context.Context, st store.Store, name string, in io.Reader, report func(string, ...any)) error {
	report("ready")
	if _, err := fmt.Fscanln(in, new(string)); err != nil {
		return err
	}
	return raceEntries(ctx, st, name, func(number uint64, by string) { report("%d %s", number, by) })
}

// entryCrashChild puts journal entries until it is killed. It reports "put <number>" after each.
func entryCrashChild(ctx context.Context, st store.Store, report func(string, ...any)) error {
	for {
		newest, err := st.NewestEntry(ctx, crashDataset)
		if err != nil {
			return err
		}
		if err := st.PutEntry(ctx, entry(crashDataset, newest+1, "child")); err != nil {
			return err
		}
		report("put %d", newest+1)
	}
}

// killedWritersLeaveAWholeJournal kills processes that put entries: every entry that one reported is there, none is damaged, and the
// next writer goes on without a gap.
func (s suite) killedWritersLeaveAWholeJournal(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	var last uint64
	for round := range crashRounds {
		c := startChild(t, roleEntryCrash, location, "")
		for n := range 3 + 2*round {
			line := c.line(t)
			if line == "" {
				c.wait(t)
				t.Fatalf("the child process ended without a kill after %d lines", n)
			}
			_, _ = fmt.Sscanf(line, "put %d", &last)
		}
		c.kill(t)
		for line := c.line(t); line != ""; line = c.line(t) { // the kill may have cut the last line
			var number uint64
			if n, err := fmt.Sscanf(line, "put %d", &number); n == 1 && err == nil {
				last = max(last, number)
			}
		}
		for _, handle := range []store.Store{st, s.open(t, location)} {
			entries, err := handle.Entries(t.Context(), crashDataset, 0, 0)
			if err != nil || uint64(len(entries)) < last {
				t.Fatalf("after kill %d: %d entries, %v; %d was put", round+1, len(entries), err, last)
			}
		}
	}
	newest, err := st.NewestEntry(t.Context(), crashDataset)
	if err != nil {
		t.Fatal(err)
	}
	putEntry(t, st, entry(crashDataset, newest+1, "after"))
}

// oldStoresHaveNoJournal reads a store that an earlier release wrote: without the folder of journals.
func (s suite) oldStoresHaveNoJournal(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	commit(t, st, record("prices", 1, "p"))
	folder := filepath.Dir(filepath.Dir(s.File(st.EntryPlace("prices", 1))))
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a commit makes %s: %v", folder, err)
	}
	wantEntries(t, st, 0, 0)
	putEntry(t, st, entry("prices", 1, "p"))
	wantEntries(t, st, 0, 0, 1)
	// A downgraded and upgraded program, or a restore from a copy without journals.
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, st, 0, 0)
	putEntry(t, st, entry("prices", 1, "again"))
	wantEntries(t, st, 0, 0, 1)
}
