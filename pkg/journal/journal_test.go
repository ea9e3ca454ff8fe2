package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
)

// counted is a store that counts the calls for journals. It can fail the next PutEntry after, or without, putting the entry.
type counted struct {
	store.Store
	looks, reads atomic.Int64
	putFails     error
	puts         bool // whether a failing PutEntry puts the entry
}

func (c *counted) NewestEntry(ctx context.Context, name string) (uint64, error) {
	c.looks.Add(1)
	return c.Store.NewestEntry(ctx, name)
}

func (c *counted) Entry(ctx context.Context, name string, number uint64) (dataset.Entry, error) {
	c.reads.Add(1)
	return c.Store.Entry(ctx, name, number)
}

func (c *counted) PutEntry(ctx context.Context, e dataset.Entry) error {
	if fail := c.putFails; fail != nil {
		c.putFails = nil
		if c.puts {
			if err := c.Store.PutEntry(ctx, e); err != nil {
				return err
			}
		}
		return fail
	}
	return c.Store.PutEntry(ctx, e)
}

func openStore(t *testing.T, folder string) *counted {
	t.Helper()
	st, err := dir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return &counted{Store: st}
}

func open(t *testing.T, st store.Store, announce func(context.Context, dataset.Entry) error) *journal.Journal {
	t.Helper()
	j, err := journal.New(journal.Config{}, journal.Deps{Store: st, Announce: announce})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func values(text string) (v map[string]json.RawMessage) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	return v
}

func set(t *testing.T, j *journal.Journal, name, text string) journal.Result {
	t.Helper()
	r, err := j.Set(t.Context(), name, journal.Change{Set: values(text), By: "ann@host", Reason: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSet(t *testing.T) {
	st := openStore(t, t.TempDir())
	var sent []dataset.Entry
	j := open(t, st, func(_ context.Context, e dataset.Entry) error { sent = append(sent, e); return nil })
	if current, err := j.Settings(t.Context(), "prices"); err != nil || current.Entry.Number != 0 {
		t.Fatalf("%+v, %v", current, err)
	}
	r := set(t, j, "prices", `{"min_records":5,"max_more_records_percent":10}`)
	e := r.Entry
	if !r.Changed || !r.Announced || len(r.Warnings) > 0 || e.Number != 1 || e.By != "ann@host" || e.Reason != "a test" || e.Kind != dataset.EntrySettings || e.StoreID.IsZero() {
		t.Errorf("%+v", r)
	}
	const content = `{"settings":{"max_more_records_percent":10,"min_records":5},"changes":{"max_more_records_percent":10,"min_records":5}}`
	if string(e.Content) != content {
		t.Errorf("the content is %s", e.Content)
	}
	if r = set(t, j, "prices", `{"min_records":5,"max_records":null}`); r.Changed || r.Entry.Number != 1 || r.Settings.Gates.MinRecords != 5 {
		t.Errorf("a change that changes nothing: %+v", r)
	}
	r = set(t, j, "prices", `{"min_records":null,"max_records":9}`)
	if change, err := r.Entry.SettingsChange(); err != nil || r.Entry.Number != 2 || fmt.Sprintf("%s", change.Changes) != "map[max_records:9 min_records:null]" {
		t.Errorf("%+v, %v", r, err)
	}
	r, err := j.Set(t.Context(), "prices", journal.Change{Set: values(`{"min_records":1}`), Replace: true, Reason: "only that", RequestID: "r-1"})
	if err != nil || r.Settings.Gates.MaxRecords != 0 || r.Settings.Gates.MaxMoreRecords != nil || r.Settings.Gates.MinRecords != 1 || r.Entry.RequestID != "r-1" {
		t.Errorf("%+v, %v", r, err)
	}
	settings, err := j.Of(t.Context(), "prices")
	if err != nil || settings.Gates.MinRecords != 1 || settings.Gates.MaxRecords != 0 {
		t.Errorf("the gates are %+v, %v", settings, err)
	}
	if settings, err := j.Of(t.Context(), "cities"); err != nil || !reflect.DeepEqual(settings, dataset.Settings{}) {
		t.Errorf("the gates of another dataset are %+v, %v", settings, err)
	}
	entries, err := j.Entries(t.Context(), "prices", 2, 0)
	if err != nil || len(entries) != 2 || len(sent) != 3 || sent[2].Sum() != entries[1].Sum() {
		t.Errorf("%d entries, %d sent, %v", len(entries), len(sent), err)
	}
	if names, err := st.Datasets(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("the datasets are %v, %v", names, err)
	}
}

func TestSetRefuses(t *testing.T) {
	st := openStore(t, t.TempDir())
	j := open(t, st, nil)
	five := values(`{"min_records":5}`)
	for want, c := range map[string]journal.Change{
		"no reason":                 {Set: five, Reason: " "},
		"no setting is named":       {Reason: "x"},
		"did you mean min_records?": {Set: values(`{"min_record":5}`), Reason: "x"},
		"no dataset meets both":     {Set: values(`{"min_records":5,"max_records":4}`), Reason: "x"},
		"control character":         {Set: five, Reason: "a\nb"},
		"not a request id":          {Set: five, Reason: "x", RequestID: "a b"},
	} {
		if _, err := j.Set(t.Context(), "prices", c); !errors.Is(err, journal.ErrChange) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := j.Set(t.Context(), "Prices", journal.Change{Set: five, Reason: "x"}); !errors.Is(err, journal.ErrChange) || !errors.Is(err, dataset.ErrName) {
		t.Errorf("%v", err)
	}
	if newest, err := st.NewestEntry(t.Context(), "prices"); err != nil || newest != 0 {
		t.Errorf("there are %d entries, %v", newest, err)
	}
	if _, err := journal.New(journal.Config{}, journal.Deps{}); err == nil {
		t.Error("a journal without a store")
	}
}

// Concurrent changes of different settings, by two processes, all survive.
func TestConcurrentChanges(t *testing.T) {
	folder := t.TempDir()
	settings := []string{"min_records", "max_records", "max_more_records_percent", "max_changed_records_percent", "max_fewer_bytes_percent", "max_more_bytes_percent"}
	const rounds = 5
	writers := pool.New().WithErrors()
	for i, name := range settings {
		j := open(t, openStore(t, folder), nil)
		writers.Go(func() error {
			for round := range rounds {
				value := 10*i + round
				if name == "max_records" {
					value = 1000 + round
				}
				_, err := j.Set(t.Context(), "prices", journal.Change{Set: map[string]json.RawMessage{name: json.RawMessage(fmt.Sprint(value + 1))}, Reason: "race"})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	j := open(t, openStore(t, folder), nil)
	current, err := j.Settings(t.Context(), "prices")
	if err != nil || current.Entry.Number != rounds*uint64(len(settings)) {
		t.Fatalf("%+v, %v", current, err)
	}
	b, err := json.Marshal(current.Settings)
	const want = `{"max_changed_records_percent":35,"max_fewer_bytes_percent":45,"max_more_bytes_percent":55,"max_more_records_percent":25,"max_records":1005,"min_records":5}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
}

// Gates are cheap for each publish: a look a second, and a read only after a change, which another process may make.
func TestSettingsAreCached(t *testing.T) {
	folder := t.TempDir()
	st, other := openStore(t, folder), openStore(t, folder)
	synctest.Test(t, func(t *testing.T) {
		j, writer := open(t, st, nil), open(t, other, nil)
		check := func(want uint64, looks, reads int64) {
			t.Helper()
			st.looks.Store(0)
			st.reads.Store(0)
			settings, err := j.Of(t.Context(), "prices")
			if err != nil || settings.Gates.MinRecords != want || st.looks.Load() != looks || st.reads.Load() != reads {
				t.Errorf("min_records is %d, %v, after %d looks and %d reads; want %d after %d and %d", settings.Gates.MinRecords, err, st.looks.Load(), st.reads.Load(), want, looks, reads)
			}
		}
		check(0, 1, 0)
		check(0, 0, 0)
		set(t, writer, "prices", `{"min_records":5}`)
		check(0, 0, 0)
		time.Sleep(2 * time.Second)
		check(5, 1, 1)
		time.Sleep(2 * time.Second)
		check(5, 1, 0)
		set(t, j, "prices", `{"min_records":6}`)
		check(6, 0, 0) // its own change
		time.Sleep(2 * time.Minute)
		check(6, 1, 1) // another copy of the store may have another entry with the number
	})
}

// A change whose outcome the store did not report is made once.
func TestSetWithUnknownOutcome(t *testing.T) {
	for _, puts := range []bool{true, false} {
		st := openStore(t, t.TempDir())
		j := open(t, st, nil)
		st.putFails, st.puts = fmt.Errorf("%w: no answer", store.ErrUnknown), puts
		if r := set(t, j, "prices", `{"min_records":5}`); !r.Changed || r.Entry.Number != 1 || r.Settings.Gates.MinRecords != 5 {
			t.Errorf("put is %v: %+v", puts, r)
		}
		if newest, err := st.NewestEntry(t.Context(), "prices"); err != nil || newest != 1 {
			t.Errorf("put is %v: %d entries, %v", puts, newest, err)
		}
	}
	st := openStore(t, t.TempDir())
	st.putFails = errors.New("no space")
	if _, err := open(t, st, nil).Set(t.Context(), "prices", journal.Change{Set: values(`{"min_records":5}`), Reason: "x"}); err == nil || errors.Is(err, journal.ErrChange) || !strings.Contains(err.Error(), "dataset prices: no space") {
		t.Errorf("%v", err)
	}
}

// NATS is down: the change holds, and a warning says what was not done.
func TestSetWithoutNATS(t *testing.T) {
	j := open(t, openStore(t, t.TempDir()), func(context.Context, dataset.Entry) error { return errors.New("nats: not connected") })
	r := set(t, j, "prices", `{"min_records":5}`)
	if !r.Changed || r.Announced || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "in the store, as journal entry 1") || !strings.Contains(r.Warnings[0], "not announced: nats: not connected") {
		t.Errorf("%+v", r)
	}
	if settings, err := j.Of(t.Context(), "prices"); err != nil || settings.Gates.MinRecords != 5 {
		t.Errorf("%+v, %v", settings, err)
	}
}

// If the newest settings are damaged, the gates are unknown and every publish is refused. The two remedies of the message work.
func TestDamagedSettings(t *testing.T) {
	st := openStore(t, t.TempDir())
	j := open(t, st, nil)
	set(t, j, "prices", `{"min_records":5}`)
	set(t, j, "prices", `{"max_records":9}`)
	place := st.EntryPlace("prices", 2)
	good, err := os.ReadFile(place)
	if err != nil {
		t.Fatal(err)
	}
	damage := func(b []byte) {
		t.Helper()
		if err := errors.Join(os.Remove(place), os.WriteFile(place, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	damage([]byte("{"))
	fresh := func() *journal.Journal { return open(t, st, nil) }
	_, err = fresh().Of(t.Context(), "prices")
	for _, part := range []string{place, "put back a good copy of it", "set all settings again: freshet settings prices --replace --set NAME=VALUE --reason TEXT, with a --set for each"} {
		if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q", err, part)
		}
	}
	if _, err := fresh().Set(t.Context(), "prices", journal.Change{Set: values(`{"min_records":6}`), Reason: "x"}); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a change of unknown settings: %v", err)
	}
	damage(good)
	if settings, err := fresh().Of(t.Context(), "prices"); err != nil || settings.Gates.MinRecords != 5 || settings.Gates.MaxRecords != 9 {
		t.Errorf("after the good copy was put back: %+v, %v", settings, err)
	}
	damage(good[1:])
	r, err := fresh().Set(t.Context(), "prices", journal.Change{Replace: true, Reason: "the entry was damaged"})
	if err != nil || !r.Changed || r.Entry.Number != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if settings, err := fresh().Of(t.Context(), "prices"); err != nil || !reflect.DeepEqual(settings, dataset.Settings{}) {
		t.Errorf("after the settings were replaced: %+v, %v", settings, err)
	}
}

// Settings are found behind entries of other kinds, which later releases add.
func TestSettingsBehindOtherEntries(t *testing.T) {
	st := openStore(t, t.TempDir())
	j := open(t, st, nil)
	r := set(t, j, "prices", `{"min_records":5}`)
	for number := uint64(2); number < 5; number++ {
		e := r.Entry
		e.Number, e.Kind, e.Content = number, "pin", json.RawMessage(`{"version":1}`)
		if err := st.PutEntry(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if r = set(t, j, "prices", `{"max_records":7}`); r.Entry.Number != 5 || r.Settings.Gates.MinRecords != 5 {
		t.Errorf("%+v", r)
	}
}
