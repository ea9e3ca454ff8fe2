package pin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/hold"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/pin"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns the pins of a store with versions of "prices".
func open(t *testing.T, versions uint64) (pin.Pins, []dataset.VersionRecord) {
	t.Helper()
	st, err := storeurl.Open(t.Context(), "dir://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	j, err := journal.New(journal.Config{}, journal.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	id, err := st.EnsureID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []dataset.VersionRecord
	for v := uint64(1); v <= versions; v++ {
		content := fmt.Append(nil, "snapshot of version ", v)
		rec := dataset.VersionRecord{
			StoreID: id, Dataset: "prices", Version: v, Created: time.Now().UTC(), Source: "test",
			Snapshot: dataset.Object{Version: v, Digest: sha256.Sum256(content), Bytes: int64(len(content))},
		}
		if v > 1 {
			rec.Previous = all[v-2].VersionID()
		}
		if err := st.PutObject(t.Context(), rec.Snapshot.Digest, rec.Snapshot.Bytes, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if err := st.PutVersion(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		all = append(all, rec)
	}
	return pin.Pins{Journal: j, Store: st}, all
}

var (
	audit  = pin.Audit{By: "ann@host", Reason: "wrong prices"}
	every  = fleet.Selection{All: true}
	canary = fleet.Selection{Labels: map[string]string{"tier": "canary"}}
)

func set(t *testing.T, p pin.Pins, version uint64, sel fleet.Selection) pin.Result {
	t.Helper()
	result, err := p.Set(t.Context(), pin.Input{Dataset: "prices", Version: version, Select: sel, Audit: audit})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestSetAndUnset(t *testing.T) {
	p, all := open(t, 3)
	set(t, p, 3, every)
	set(t, p, 2, canary)
	if r := set(t, p, 2, canary); r.Changed || len(r.Change.Pins) != 2 {
		t.Errorf("a pin that holds: %+v", r)
	}
	// A pin of the same instances to the same version is set again if a later pin took its place.
	if r := set(t, p, 3, every); !r.Changed || r.Entry != 3 || len(r.Change.Pins) != 2 || r.Change.Pins[1].Version != 3 {
		t.Errorf("a pin behind a later one: %+v", r)
	}
	pins, err := p.Journal.Pins(t.Context(), "prices")
	if err != nil || pins.Entry != 3 || pins.Journal != 3 || len(pins.Pins) != 2 || len(pins.Versions) != 2 {
		t.Fatalf("%+v, %v", pins, err)
	}
	if rec, ok := pins.Record(2); !ok || rec.VersionID() != all[1].VersionID() || pins.StoreID != all[0].StoreID {
		t.Errorf("the record of version 2 is %+v", rec)
	}
	if _, err := p.Unset(t.Context(), "prices", fleet.Selection{Instances: []string{"api-1"}}, audit); !errors.Is(err, pin.ErrUnknownPin) {
		t.Errorf("an unknown pin: %v", err)
	}
	dry := audit
	dry.DryRun = true
	if r, err := p.Unset(t.Context(), "prices", every, dry); err != nil || r.Changed || len(r.Change.Removed) != 2 {
		t.Errorf("a dry run: %+v, %v", r, err)
	}
	if r, err := p.Unset(t.Context(), "prices", canary, audit); err != nil || len(r.Change.Pins) != 1 || len(r.Change.Removed) != 1 {
		t.Errorf("one pin less: %+v, %v", r, err)
	}
	if r, err := p.Unset(t.Context(), "prices", every, audit); err != nil || len(r.Change.Pins) != 0 {
		t.Errorf("no pins: %+v, %v", r, err)
	}
}

func TestSetRefuses(t *testing.T) {
	p, all := open(t, 2)
	in := pin.Input{Dataset: "prices", Version: 1, Select: every, Audit: audit}
	for name, tc := range map[string]struct {
		change func(*pin.Input)
		want   error
	}{
		"no reason":       {func(in *pin.Input) { in.Reason = " " }, pin.ErrInput},
		"no instances":    {func(in *pin.Input) { in.Select = fleet.Selection{} }, pin.ErrInput},
		"no version":      {func(in *pin.Input) { in.Version = 0 }, pin.ErrInput},
		"no such version": {func(in *pin.Input) { in.Version = 3 }, pin.ErrUnknownVersion},
		"another id":      {func(in *pin.Input) { in.ID = all[1].VersionID().String() }, pin.ErrUnknownVersion},
		"no such dataset": {func(in *pin.Input) { in.Dataset = "cities" }, pin.ErrNoVersion},
	} {
		changed := in
		tc.change(&changed)
		if _, err := p.Set(t.Context(), changed); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range dataset.MaxPins {
		set(t, p, 1, fleet.Selection{Instances: []string{fmt.Sprint("api-", i)}})
	}
	if _, err := p.Set(t.Context(), in); !errors.Is(err, pin.ErrInput) {
		t.Errorf("one pin too many: %v", err)
	}
	set(t, p, 2, fleet.Selection{Instances: []string{"api-0"}}) // replaces one
	if n, err := p.Store.NewestEntry(t.Context(), "prices"); err != nil || n != dataset.MaxPins+1 {
		t.Errorf("the journal has %d entries, %v", n, err)
	}
}

// A store that was restored from an older copy has no record, or another one, for a pinned version.
func TestPinsOfAVersionThatIsGone(t *testing.T) {
	p, _ := open(t, 1)
	set(t, p, 1, every)
	gone := pin.Pins{Journal: p.Journal, Store: lacking{p.Store}}
	j, err := journal.New(journal.Config{}, journal.Deps{Store: gone.Store})
	if err != nil {
		t.Fatal(err)
	}
	if pins, err := j.Pins(t.Context(), "prices"); err != nil || len(pins.Pins) != 1 || len(pins.Versions) != 0 {
		t.Errorf("%+v, %v", pins, err)
	}
}

// lacking is a store without versions.
type lacking struct{ store.Store }

func (lacking) Version(context.Context, string, uint64) (dataset.VersionRecord, error) {
	return dataset.VersionRecord{}, store.ErrNotFound
}

// watching is a store that calls before, once, before it puts an entry.
type watching struct {
	store.Store
	before func()
}

func (s *watching) PutEntry(ctx context.Context, e dataset.Entry) error {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
	return s.Store.PutEntry(ctx, e)
}

// A garbage collection that has read the journal before the pin was there finds the objects of the pinned version held.
func TestSetHoldsTheVersion(t *testing.T) {
	p, all := open(t, 3)
	objects := []dataset.Digest{all[0].Snapshot.Digest, all[1].Snapshot.Digest}
	var held map[dataset.Digest]bool
	st := &watching{Store: p.Store, before: func() {
		sweep, found, err := hold.Begin(t.Context(), p.Store, objects)
		if err != nil {
			t.Error(err)
		}
		sweep.Drop(t.Context())
		held = found
	}}
	j, err := journal.New(journal.Config{}, journal.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	in := pin.Input{Dataset: "prices", Version: 1, Select: fleet.Selection{All: true}, Audit: pin.Audit{Reason: "a test"}}
	if r, err := (pin.Pins{Journal: j, Store: st}).Set(t.Context(), in); err != nil || !r.Changed {
		t.Fatalf("%+v, %v", r, err)
	}
	if !held[objects[0]] || held[objects[1]] {
		t.Errorf("held are %v, want the objects of version 1", held)
	}
	if left, err := p.Store.Notes(t.Context(), ""); err != nil || len(left) != 0 {
		t.Errorf("the notes %v are left, %v", left, err)
	}
	// A version that has lost a part is not pinned, also if the rest is there.
	_, err = j.Append(t.Context(), "prices", journal.Note{Kind: dataset.EntryGC, Content: func(context.Context, uint64) (any, error) {
		gone := dataset.VersionRanges{}.Add(2)
		return dataset.Removal{Versions: gone, Gone: gone, Objects: 1}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	in.Version = 2
	if _, err := p.Set(t.Context(), in); !errors.Is(err, pin.ErrGone) || !strings.Contains(err.Error(), "freshet versions prices") {
		t.Errorf("pin a version that is gone: %v", err)
	}
}
