package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/subscribe"
)

// found returns the keys of the records in the set whose member is equal to the value.
func found(t *testing.T, set *index.Set, member, value string) []string {
	t.Helper()
	m, err := set.Find(index.Equal(member, index.Text(value)))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for match := range m.All() {
		keys = append(keys, string(match.Key))
	}
	return keys
}

func indexOf(t *testing.T, items ...string) map[string][]index.Spec {
	t.Helper()
	specs, err := index.Parse(items)
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

// The indexes follow deltas, full loads and a version that changes nothing, each time with the table of the same version.
func TestIndexesFollow(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("cities", "prices")
	cfg.Indexes = indexOf(t, "cities:country", "cities:name^")
	s := open(t, cfg)
	cities := handle(s, "cities")
	if cities.Indexes() != nil || handle(s, "prices").Indexes() != nil {
		t.Error("there are indexes before the first version")
	}
	content := records{"zrh": `{"country":"CH","name":"Zürich"}`, "bsl": `{"country":"CH","name":"Basel"}`, "sel": `{"country":"KR","name":"Seoul"}`}
	p := &pipeline{w: w, name: "cities"}
	for version, change := range []records{
		{},
		{"pus": `{"country":"KR","name":"Busan"}`},
		{"bsl": `{"country":"BS","name":"Basel"}`, "zrh": ""},
		{},
		{"icn": `{"country":"KR","name":"Incheon"}`},
	} {
		version := uint64(version + 1)
		maps.Copy(content, change)
		maps.DeleteFunc(content, func(_, value string) bool { return value == "" })
		rec := p.commit(content, version == 3, 100)
		w.announce(rec)
		await(t, "the indexes to follow", func() bool {
			set := cities.Indexes()
			return set != nil && set.Table().Version() == version
		})
		if err := cities.WaitIndexes(t.Context()); err != nil {
			t.Error(err)
		}
		set := cities.Indexes()
		var want []string
		for key, value := range content {
			if strings.Contains(value, "KR") {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		if got := found(t, set, "country", "KR"); !slices.Equal(got, want) || set.ID() != rec.VersionID() || set.Table().Len() != len(content) {
			t.Errorf("version %d: found %q, want %q; the id is %s, of %d records", version, got, want, set.ID(), set.Table().Len())
		}
	}
	await(t, "the status to follow", func() bool { return statusOf(t, s, "cities").FollowersBehindSeconds == 0 })
	st := statusOf(t, s, "cities").Indexes
	if len(st) != 2 || st[0].Index != "country" || st[1].Index != "name^" || st[1].Records != len(content) || st[1].Version != 5 || st[1].Full || st[1].Bytes == 0 {
		t.Errorf("the status is %+v", st)
	}
	if warning := warningOf(t, s, "cities"); warning != "" {
		t.Errorf("the warning is %q", warning)
	}
}

// A record that an index lacks is in the dataset's warning until a version corrects it.
func TestWarningOfIndexes(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("ranges")
	cfg.Indexes = indexOf(t, "ranges:net/ip")
	s := open(t, cfg)
	w.announce(w.commit("ranges", 1, records{"a": `{"net":"10.0.0.0/8"}`, "b": `{"net":"10.0.0.0/99"}`}))
	await(t, "the warning", func() bool {
		return warningOf(t, s, "ranges") == `secondary indexes of version 1: index net/ip lacks 1 records, no address, such as "b"`
	})
	w.announce(w.commit("ranges", 2, records{"a": `{"net":"10.0.0.0/8"}`, "b": `{"net":"10.0.0.0/9"}`}))
	await(t, "the warning to end", func() bool { return warningOf(t, s, "ranges") == "" })
}

// While the indexes of a version are built, those of the version before answer.
func TestIndexesWaitForTheirLane(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("cities")
	cfg.Indexes = indexOf(t, "cities:country")
	s := open(t, cfg)
	cities := handle(s, "cities")
	w.announce(w.commit("cities", 1, records{"a": `{"country":"CH"}`}))
	if err := cities.WaitIndexes(w.context()); err != nil {
		t.Fatal(err)
	}
	release := subscribe.HoldCPULane(s)
	defer release()
	w.announce(w.commit("cities", 2, records{"a": `{"country":"KR"}`}))
	await(t, "version 2", func() bool { return cities.Table().Version() == 2 })
	if set := cities.Indexes(); set.Table().Version() != 1 || !slices.Equal(found(t, set, "country", "CH"), []string{"a"}) {
		t.Errorf("version %d answers", set.Table().Version())
	}
	await(t, "the status to say so", func() bool {
		x := statusOf(t, s, "cities").Indexes[0]
		return x.Version == 1 && x.BehindSeconds > 0
	})
	release()
	await(t, "the indexes of version 2", func() bool { return cities.Indexes().Table().Version() == 2 })
}

// While the indexes are behind the table, a wait for them ends when they have the version, and not before; also if the version keeps the table.
func TestIndexesAtLeast(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices", "cities")
	cfg.Indexes = indexOf(t, "prices:n")
	s := open(t, cfg)
	prices := handle(s, "prices")
	one := w.chained("prices", dataset.VersionRecord{Dataset: "prices"})
	if set, err := prices.IndexesAtLeast(w.context(), one.Ref()); err != nil || set.ID() != one.VersionID() {
		t.Fatalf("%v, %v", set, err)
	}
	other := w.chained("cities", dataset.VersionRecord{Dataset: "cities"})
	if set, err := handle(s, "cities").IndexesAtLeast(w.context(), other.Ref()); err != nil || set != nil {
		t.Errorf("a dataset without indexes: %v, %v", set, err)
	}
	again := subscribe.KeepIndexes(prices)
	two := w.chained("prices", one)
	if _, err := prices.IndexesAtLeast(w.context(), two.Ref()); err != nil {
		t.Fatal(err)
	}
	release := again()
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	set, err := prices.IndexesAtLeast(soon, two.Ref())
	if behind := (*subscribe.BehindError)(nil); !errors.As(err, &behind) || behind.Served != one.Ref() || !strings.Contains(err.Error(), "secondary indexes, which follow the table") {
		t.Errorf("%v, %v", set, err)
	}
	if set, err := prices.IndexesAtLeast(w.context(), one.Ref()); err != nil || set.Table().Version() != 1 {
		t.Errorf("%v, %v", set, err)
	}
	waited := make(chan error, 1)
	go func() {
		set, err := prices.IndexesAtLeast(w.context(), two.Ref())
		if err == nil && set.Table() != prices.Table() {
			err = fmt.Errorf("version %d answers", set.Table().Version())
		}
		waited <- err
	}()
	release()
	if err := <-waited; err != nil {
		t.Error(err)
	}
	gone := w.delete(3, false)
	w.announce(gone)
	if set, err := prices.IndexesAtLeast(w.context(), gone.Ref()); err != nil || set.Table() != prices.Table() {
		t.Errorf("%v, %v", set, err)
	}
	if _, err := prices.IndexesAtLeast(w.context(), dataset.Ref{Version: 2}); !errors.Is(err, subscribe.ErrVersionID) {
		t.Errorf("%v", err)
	}
}

func TestIndexesAreChecked(t *testing.T) {
	w := newWorld(t)
	for want, indexes := range map[string]map[string][]index.Spec{
		`Indexes (FRESHET_INDEXES): dataset "citys" is not one of Datasets (FRESHET_DATASETS), which has cities`: {"citys": {{Member: "a"}}},
		`Indexes (FRESHET_INDEXES): dataset cities: unusable index "a..b"`:                                       {"cities": {{Member: "a..b"}}},
	} {
		cfg := w.config("cities")
		cfg.Indexes = indexes
		if err := cfg.Check(); !errors.Is(err, subscribe.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestWaitForIndexesEnds(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("cities", "prices")
	cfg.Indexes = indexOf(t, "cities:country")
	s := open(t, cfg)
	release := subscribe.HoldCPULane(s)
	defer release()
	w.announce(w.commit("cities", 1, records{"a": `{}`}))
	w.announce(w.commit("prices", 1, records{"a": `{}`}))
	await(t, "the versions", func() bool { return handle(s, "cities").Table() != nil && handle(s, "prices").Table() != nil })
	if err := handle(s, "prices").WaitIndexes(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := handle(s, "cities").WaitIndexes(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(fmt.Sprint(err), "indexes of dataset cities") {
		t.Errorf("the error is %v", err)
	}
}

// After a full load almost all records are compared and do not differ: the comparison for the indexes ends when the subscriber closes.
func TestComparisonForIndexesEnds(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("cities"))
	swaps := make(chan subscribe.Swap, 2)
	if _, err := handle(s, "cities").OnSwap(func(swap subscribe.Swap) { swaps <- swap }); err != nil {
		t.Fatal(err)
	}
	content := make(records)
	for i := range 3000 {
		content[fmt.Sprintf("city-%d", i)] = `{"country":"CH"}`
	}
	w.announce(w.commit("cities", 1, content))
	<-swaps
	maps.Copy(content, records{"new": `{"country":"KR"}`})
	w.announce(w.commit("cities", 2, content))
	swap := <-swaps
	if !swap.Full || swap.Old.Version() != 1 {
		t.Fatalf("the swap is %+v", swap)
	}
	count := func(ctx context.Context) (n int) {
		for range subscribe.Brief(ctx, swap) {
			n++
		}
		return n
	}
	if n := count(t.Context()); n != 1 {
		t.Errorf("%d changes, want 1", n)
	}
	compared := 0
	for range swap.Paced(func() bool { compared++; return true }) {
		break // at the record that differs
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if n := count(ended); n != 0 {
		t.Errorf("%d changes after the end, of %d records that were compared", n, compared)
	}
}
