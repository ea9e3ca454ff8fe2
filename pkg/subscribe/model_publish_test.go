package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
)

// newest returns the newest version's record, as the store has it.
func (m *model) newest() dataset.VersionRecord {
	m.t.Helper()
	rec, err := m.store.Latest(m.t.Context(), m.name)
	if err != nil {
		m.t.Fatal(err)
	}
	return rec
}

// publisher returns a publisher with deps, whose beacons have the name.
func (m *model) publisher(name string, deps publish.Deps) *publish.Publisher {
	m.t.Helper()
	cfg := m.publishing
	cfg.BeaconEvery, cfg.BeaconName = events.MinBeaconEvery, name
	deps.SendBeacon = func(b events.Beacon) error { return events.SendBeacon(m.nc, "", b) }
	p, err := publish.Open(cfg, deps)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// someone returns one of the publishers that live on.
func (m *model) someone() *publish.Publisher { return m.publishers[m.r.IntN(len(m.publishers))] }

// took notes that the next version has the content.
func (m *model) took(content records) {
	m.all = content
	m.history = append(m.history, content)
	if len(m.history) == 1 {
		m.seed = m.newest().Seed
	}
	m.sums = append(m.sums, sumOf(m.seed, maps.All(content)))
	rec, err := m.store.Version(m.t.Context(), m.name, uint64(len(m.history)))
	if err != nil {
		m.t.Fatal(err)
	}
	m.knows(rec, content)
}

// knows notes that rec was committed with the content, in whichever store.
func (m *model) knows(rec dataset.VersionRecord, content records) {
	m.known[rec.VersionID()] = version{rec.Version, content, sumOf(rec.Seed, maps.All(content))}
}

// published checks the result of a publish without faults, which should lead to content.
func (m *model) published(got publish.Result, err error, content records) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	if told := len(got.Warnings) == 0 && got.Announced && got.Indexed; told {
		m.untold = false
	} else if !m.tolerant {
		m.t.Fatalf("version %d: %+v", got.Record.Version, got)
	}
	if created := !maps.Equal(content, m.all); got.Created != created {
		m.t.Fatalf("version %d was created: %v, want %v", got.Record.Version, got.Created, created)
	}
	if got.Created {
		if want := between(m.all, content); got.Record.Changes != want {
			m.t.Fatalf("version %d counts %+v, want %+v", got.Record.Version, got.Record.Changes, want)
		}
		m.took(content)
	}
	if want := uint64(len(m.history)); got.Record.Version != want {
		m.t.Fatalf("it is version %d, want %d", got.Record.Version, want)
	}
	if got, want := (sums{got.Record.State, got.Record.PayloadBytes}), m.sums[len(m.sums)-1]; got != want {
		m.t.Fatalf("version %d is %+v, want %+v", len(m.sums), got, want)
	}
}

// publish publishes content as a whole.
func (m *model) publish(content records) {
	m.t.Helper()
	got, err := m.someone().Publish(m.t.Context(), m.name, ndjson(m.text(content)))
	m.published(got, err, content)
}

func (m *model) publishAll() {
	next := m.rewrite(m.all)
	m.did("publish %d records: %+v", len(next), between(m.all, next))
	m.publish(next)
}

// again publishes the newest version's records: no version is created, and a version that was not announced is announced.
func (m *model) again() {
	m.did("publish the same again")
	m.publish(m.all)
}

// rollback publishes an older version's records, or restores that version. Sometimes it alternates, so that one delta leads to several
// versions, and instances return to tables that they keep.
func (m *model) rollback() {
	version, times := m.r.IntN(len(m.history)), 1
	if m.r.IntN(2) == 0 {
		version, times = max(0, len(m.history)-2), 2+m.r.IntN(4)
	}
	m.did("roll back to version %d, and to and fro: %d in all", version+1, times)
	restores := m.r.IntN(2) == 0
	for range times {
		if restores {
			m.restoreVersion(uint64(version + 1))
		} else {
			m.publish(m.history[version])
		}
		version = max(0, len(m.history)-2)
	}
}

// restoreVersion makes the next version by a rollback. A version whose objects are lost cannot be restored, and its records are published.
func (m *model) restoreVersion(version uint64) {
	m.t.Helper()
	content := m.history[version-1]
	got, err := m.someone().Rollback(m.t.Context(), publish.RollbackInput{Dataset: m.name, To: version, Reason: "the model"})
	if errors.Is(err, publish.ErrLost) {
		m.publish(content)
		return
	}
	m.published(got, err, content)
}

func (m *model) patch() {
	e := m.edit(m.all, 1+m.r.IntN(1+len(m.keys)/10))
	in := publish.PatchInput{Input: ndjson(m.lines(e))}
	if m.r.IntN(2) == 0 {
		in.Base = uint64(len(m.history))
	}
	next := e.of(m.all)
	m.did("patch %d keys, base %d: %+v", len(e), in.Base, between(m.all, next))
	got, err := m.someone().Patch(m.t.Context(), m.name, in)
	if len(next) == 0 {
		if !errors.Is(err, publish.ErrEmpty) {
			m.t.Fatalf("a patch that removes every record: %v", err)
		}
		return
	}
	if unchanged, missing := e.counts(m.all); err == nil && (got.Unchanged != unchanged || got.Missing != missing || got.Changes != between(m.all, next)) {
		m.t.Fatalf("the patch says %+v; want %+v, %d unchanged, %d missing", got, between(m.all, next), unchanged, missing)
	}
	m.published(got.Result, err, next)
}

// refused patches for a version that is not the newest.
func (m *model) refused() {
	in := publish.PatchInput{Input: ndjson(m.lines(m.edit(m.all, 5))), Base: uint64(len(m.history) + 1 - 2*m.r.IntN(2))}
	m.did("patch for version %d", in.Base)
	if in.Base == 0 {
		return
	}
	if _, err := m.someone().Patch(m.t.Context(), m.name, in); !errors.Is(err, publish.ErrConflict) {
		m.t.Fatalf("a patch for version %d, when the newest is %d: %v", in.Base, len(m.history), err)
	}
}

// race makes both publishers patch at the same time, each with its own keys. Their results give the order of the patches.
func (m *model) race() {
	edits := [2]edit{{}, {}}
	for key, line := range m.edit(m.all, 20) {
		edits[len(key)%2][key] = line
	}
	m.did("two patches at once, of %d and %d keys", len(edits[0]), len(edits[1]))
	if len(edits[0]) == 0 || len(edits[1]) == 0 || len(edits[1].of(edits[0].of(m.all))) == 0 {
		return
	}
	var texts [2]string
	for i, e := range edits {
		texts[i] = m.lines(e)
	}
	var got [2]publish.PatchResult
	var both sync.WaitGroup
	for i, text := range texts {
		both.Go(func() {
			var err error
			if got[i], err = m.publishers[i].Patch(m.t.Context(), m.name, publish.PatchInput{Input: ndjson(text)}); err != nil {
				m.t.Errorf("one of two patches at once: %v", err)
			}
		})
	}
	both.Wait()
	if m.t.Failed() {
		m.t.FailNow()
	}
	first := 0
	if got[0].Created && got[1].Created && got[1].Record.Version < got[0].Record.Version || !got[0].Created {
		first = 1
	}
	for _, i := range []int{first, 1 - first} {
		if got[i].Created {
			m.took(edits[i].of(m.all))
		}
		// The one that comes second may find the event log ahead of it, or tell of both.
		m.untold = m.untold || len(got[i].Warnings) > 0
	}
	if rec := m.newest(); rec.Version != uint64(len(m.history)) {
		m.t.Fatalf("the newest is %d, want %d", rec.Version, len(m.history))
	}
}

// crash makes another publisher publish or patch and die in the middle. The store says whether the version exists.
func (m *model) crash() {
	ctx, cancel := context.WithCancel(m.t.Context())
	defer cancel()
	dying := newMortal(m.r, m.world, m.catalog, cancel)
	p := m.publisher("dying", dying.deps())
	var next records
	var err error
	var got publish.Result
	if m.r.IntN(3) == 0 {
		next = m.rewrite(m.all)
		m.did("publish %d records: %+v; it %s", len(next), between(m.all, next), dying)
		got, err = p.Publish(ctx, m.name, ndjson(m.text(next)))
	} else {
		e := m.edit(m.all, 1+len(m.keys)/20)
		next = e.of(m.all)
		m.did("patch %d keys: %+v; it %s", len(e), between(m.all, next), dying)
		var result publish.PatchResult
		result, err = p.Patch(ctx, m.name, publish.PatchInput{Input: ndjson(m.lines(e))})
		got = result.Result
	}
	rec := m.newest()
	switch rec.Version - uint64(len(m.history)) {
	case 0:
		if err == nil && got.Created {
			m.t.Fatalf("version %d does not exist, and its publisher was told that it does", got.Record.Version)
		}
		m.note("  nothing was committed: %v", err)
	case 1:
		m.took(next)
		m.note("  version %d was committed: %v, %q", rec.Version, err, got.Warnings)
	default:
		m.t.Fatalf("the newest is %d, want %d or one more", rec.Version, len(m.history))
	}
	m.untold = true
}

// compact compacts at once, or in parallel with the next operations, or not to the end.
func (m *model) compact() {
	switch m.r.IntN(3) {
	case 0:
		m.did("compact")
		if _, err := m.someone().Compact(m.t.Context(), m.name); err != nil {
			m.t.Fatal(err)
		}
	case 1:
		m.did("compact beside the rest")
		p := m.someone()
		m.beside.Go(func() {
			if _, err := p.Compact(m.t.Context(), m.name); err != nil {
				m.t.Errorf("compact beside the rest: %v", err)
			}
		})
	default:
		ctx, cancel := context.WithCancel(m.t.Context())
		defer cancel()
		dying := newMortal(m.r, m.world, m.catalog, cancel)
		m.did("compact; it %s", dying)
		done, err := m.publisher("dying", dying.deps()).Compact(ctx, m.name)
		m.note("  it wrote snapshot %d: %v", done.Record.Object.Version, err)
	}
}

// checkHistory looks at the store, the event log and the catalog: no version is missing, none is there twice.
func (m *model) checkHistory() {
	m.t.Helper()
	all, err := m.store.Versions(m.t.Context(), m.name, 0, 0)
	if err != nil || len(all) != len(m.history) {
		m.t.Fatalf("the store has %d versions, want %d: %v", len(all), len(m.history), err)
	}
	for i, rec := range all {
		want := uint64(len(all) - i)
		if got := (sums{rec.State, rec.PayloadBytes}); rec.Version != want || rec.Seed != m.seed || got != m.sums[want-1] {
			m.t.Fatalf("version %d is %d with %+v, want %+v", want, rec.Version, got, m.sums[want-1])
		}
	}
	next := uint64(1)
	for event, err := range m.world.log.History(m.context(), m.name, 1) {
		if err != nil {
			m.t.Fatal(err)
		}
		if m.mixed {
			next = event.Record.Version + 1
			continue
		}
		if next == 1 && m.logLost { // a publish brings back as many as the catalog has, a repair the rest
			next = event.Record.Version
		}
		if event.Record.Version != next {
			m.t.Fatalf("the event log has version %d where version %d comes next", event.Record.Version, next)
		}
		next++
	}
	if next != uint64(len(all))+1 {
		m.t.Fatalf("the event log ends before version %d, and the newest is %d", next, len(all))
	}
}

// checkTold checks that the event log and the catalog have the newest version.
func (m *model) checkTold(rec dataset.VersionRecord) {
	m.t.Helper()
	latest, err := m.world.log.Latest(m.context(), []string{m.name})
	if err != nil || fmt.Sprint(latest[m.name]) != fmt.Sprint(rec) {
		m.t.Fatalf("the event log has %+v, %v; want %+v", latest[m.name], err, rec)
	}
	if indexed, err := m.catalog.Latest(m.context(), m.name); err != nil || fmt.Sprint(indexed) != fmt.Sprint(rec) {
		m.t.Fatalf("the catalog has %+v, %v; want %+v", indexed, err, rec)
	}
}
