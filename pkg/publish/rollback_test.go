package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"github.com/google/go-cmp/cmp"
)

// back returns the input of a rollback.
func back(to uint64) publish.RollbackInput {
	return publish.RollbackInput{Dataset: "prices", To: to, Reason: "wrong currency", By: "ann@db1"}
}

// newLoggedRig returns a rig and its log.
func newLoggedRig(t *testing.T, change func(*publish.Config)) (*rig, *bytes.Buffer) {
	var log bytes.Buffer
	return newRig(t, func(c *publish.Config, _ *publish.Deps) {
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		if change != nil {
			change(c)
		}
	}), &log
}

// rebuilt reports whether the log says that a rollback read all records.
func rebuilt(log *bytes.Buffer) bool {
	return strings.Contains(log.String(), "a rollback reads all records")
}

// rollback rolls back to the version, whose content was want, and checks what comes of it.
func (r *rig) rollback(t *testing.T, to uint64, want table) dataset.VersionRecord {
	t.Helper()
	target, newest := must(r.store.Version(t.Context(), "prices", to)), must(r.store.Latest(t.Context(), "prices"))
	got, err := r.Rollback(t.Context(), back(to))
	if err != nil || !got.Created || len(got.Warnings) > 0 {
		t.Fatalf("roll back to version %d: %+v, %v", to, got, err)
	}
	rec := got.Record
	if rec.Version != newest.Version+1 || rec.Previous != newest.VersionID() || rec.State != target.State || rec.PayloadBytes != target.PayloadBytes ||
		rec.Restores != target.Ref() || rec.Reason != "wrong currency" || rec.By != "ann@db1" || rec.ExpectEvery != newest.ExpectEvery {
		t.Errorf("after version %s: %+v; want the state of %+v", newest.ID(), rec, target)
	}
	if stored := must(r.store.Latest(t.Context(), "prices")); stored.Ref() != rec.Ref() {
		t.Errorf("the newest is %s", stored.Ref())
	}
	if diff := cmp.Diff(map[string]string(want), content(t, r.store, rec)); diff != "" {
		t.Errorf("version %s: %s", rec.ID(), diff)
	}
	noTemp(t, r.temp)
	return rec
}

// step makes the next version of m: it adds, changes and removes some records.
func (m table) step(t *testing.T, r *rig, version int, asPatch bool) {
	t.Helper()
	var lines []string
	for i := range 7 {
		id := (version*31 + i*17) % 400
		if i == 0 && len(m) > 1 {
			if _, ok := m[fmt.Sprint(id)]; ok {
				delete(m, fmt.Sprint(id))
				lines = append(lines, fmt.Sprintf(`{"id":"%d","$remove":true}`, id))
			}
			continue
		}
		m.set(id, version*1000+i)
		lines = append(lines, m[fmt.Sprint(id)])
	}
	if !asPatch {
		m.publish(t, r)
		return
	}
	if got, err := r.Patch(t.Context(), "prices", patch(lines...)); err != nil || !got.Created {
		t.Fatalf("%+v, %v", got, err)
	}
}

// history makes versions of 300 records and returns what each holds.
func history(t *testing.T, r *rig, versions int, asPatch func(version int) bool) []table {
	t.Helper()
	return historyOf(t, r, numbered(300), versions, asPatch)
}

func historyOf(t *testing.T, r *rig, m table, versions int, asPatch func(version int) bool) []table {
	t.Helper()
	m.publish(t, r)
	all := []table{nil, maps.Clone(m)}
	for v := 2; v <= versions; v++ {
		m.step(t, r, v, asPatch(v))
		all = append(all, maps.Clone(m))
	}
	return all
}

// A rollback by one and by five versions, of patches, of publishes of all records and across a snapshot, has the content of the version, and
// costs the store what a patch of the same changes does.
func TestRollback(t *testing.T) {
	for name, c := range map[string]struct {
		maxDeltas int
		asPatch   func(int) bool
	}{
		"patches":           {32, func(int) bool { return true }},
		"publishes":         {32, func(int) bool { return false }},
		"both":              {32, func(v int) bool { return v%2 == 0 }},
		"across a snapshot": {2, func(int) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			r, log := newLoggedRig(t, func(cfg *publish.Config) { cfg.MaxDeltas = c.maxDeltas })
			all := history(t, r, 8, c.asPatch)
			for _, to := range []uint64{7, 3} { // the second: by six versions, over the rollback
				newest := must(r.store.Latest(t.Context(), "prices"))
				same := undo(all[newest.Version], all[to])
				same.DryRun = true
				price := must(r.Patch(t.Context(), "prices", same)).Preview
				before := r.objectBytes(t)
				rec := r.rollback(t, to, all[to])
				all = append(all, all[to])
				if rec.Changes != price.Changes || rec.PullBytes() != price.PullBytes {
					t.Errorf("it has %+v and %d bytes to pull; a patch has %+v and %d", rec.Changes, rec.PullBytes(), price.Changes, price.PullBytes)
				}
				if grown := r.objectBytes(t) - before; grown != price.PullBytes {
					t.Errorf("the store has grown by %d bytes, for a delta of %d", grown, price.PullBytes)
				}
			}
			if rebuilt(log) {
				t.Errorf("it read all records: %s", log)
			}
			// The next patch and publish follow.
			m := maps.Clone(all[len(all)-1])
			m.step(t, r, 11, true)
			m.step(t, r, 12, false)
		})
	}
}

// undo returns the patch that leads from one content to the other.
func undo(from, to table) publish.PatchInput {
	var lines []string
	for key, line := range to {
		if from[key] != line {
			lines = append(lines, line)
		}
	}
	for key := range from {
		if _, ok := to[key]; !ok {
			lines = append(lines, fmt.Sprintf(`{"id":"%s","$remove":true}`, key))
		}
	}
	return patch(lines...)
}

// A version is restored although the newest record names no delta from so far back: the records in between name them.
func TestRollbackFurtherThanTheRecordNames(t *testing.T) {
	r, log := newLoggedRig(t, func(c *publish.Config) { c.MaxDeltas = 2 })
	all := historyOf(t, r, numbered(4000), 80, func(v int) bool { return v%8 > 0 })
	if newest := must(r.store.Latest(t.Context(), "prices")); len(newest.Deltas) >= 78 {
		t.Fatalf("the newest record names %d deltas", len(newest.Deltas))
	}
	r.rollback(t, 2, all[2])
	if rebuilt(log) {
		t.Errorf("it read all records: %s", log)
	}
}

func TestRollbackIsRefused(t *testing.T) {
	r := newRig(t, nil)
	if _, err := r.Rollback(t.Context(), back(1)); !errors.Is(err, publish.ErrNoVersion) || !strings.Contains(err.Error(), `"prices"`) {
		t.Errorf("of an unknown dataset: %v", err)
	}
	history(t, r, 3, func(int) bool { return true })
	id := must(r.store.Version(t.Context(), "prices", 2)).VersionID().String()
	for want, c := range map[string]struct {
		change func(*publish.RollbackInput)
		cause  error
	}{
		"to version 4: the dataset has no such version; it has the versions 1 to 3": {func(in *publish.RollbackInput) { in.To = 4 }, publish.ErrUnknownVersion},
		"has the id " + id:      {func(in *publish.RollbackInput) { in.To, in.ToID = 2, "0123456789ab" }, publish.ErrUnknownVersion},
		"is no version id":      {func(in *publish.RollbackInput) { in.ToID = "xyz" }, publish.ErrInput},
		"name one with --to N":  {func(in *publish.RollbackInput) { in.To = 0 }, publish.ErrInput},
		"say why with --reason": {func(in *publish.RollbackInput) { in.Reason = "" }, publish.ErrInput},
		"reason has 1025 bytes": {func(in *publish.RollbackInput) { in.Reason = strings.Repeat("x", 1025) }, publish.ErrInput},
		"by has 257 bytes":      {func(in *publish.RollbackInput) { in.By = strings.Repeat("x", 257) }, publish.ErrInput},
		"not a request id":      {func(in *publish.RollbackInput) { in.RequestID = "a b" }, publish.ErrInput},
		"not a dataset name":    {func(in *publish.RollbackInput) { in.Dataset = "Prices" }, publish.ErrInput},
	} {
		in := back(1)
		c.change(&in)
		if _, err := r.Rollback(t.Context(), in); !errors.Is(err, c.cause) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %v with %q", err, c.cause, want)
		}
	}
	in := back(2)
	in.ToID = id[:12]
	if got, err := r.Rollback(t.Context(), in); err != nil || !got.Created {
		t.Errorf("with the id: %+v, %v", got, err)
	}
	if got := r.versions(t, "prices"); got != 4 {
		t.Errorf("there are %d versions", got)
	}
	noTemp(t, r.temp)
}

// A rollback to the content that the newest version has makes no version.
func TestRollbackWithoutChange(t *testing.T) {
	r := newRig(t, nil)
	all := history(t, r, 4, func(int) bool { return true })
	r.rollback(t, 2, all[2])
	for _, to := range []uint64{2, 5} {
		r.untouched(t, func() {
			if got, err := r.Rollback(t.Context(), back(to)); err != nil || got.Created || got.Record.Version != 5 {
				t.Errorf("to version %d: %+v, %v", to, got, err)
			}
		})
	}
}

func TestDryRunOfARollback(t *testing.T) {
	most := 1
	gates := dataset.Gates{}
	r := gated(t, &gates)
	m := numbered(300)
	m.publish(t, r)
	m.set(1, -1)
	few := maps.Clone(m)
	maps.DeleteFunc(few, func(key, _ string) bool { return len(key) > 1 })
	few.shrink(t, r) // version 2 has 10 records
	m.publish(t, r)
	in := back(2)
	in.DryRun = true
	r.untouched(t, func() {
		seen := must(r.Rollback(t.Context(), in)).Preview
		if !seen.Creates || seen.Changes != (dataset.Changes{Removed: 290}) || len(seen.Refused) != 0 || len(seen.Allowed) != 1 || seen.Allowed[0].Gate != fewer {
			t.Errorf("to 10 records: %+v", seen)
		}
	})
	r.rollback(t, 2, few)
	gates = dataset.Gates{MaxMoreRecords: &most}
	in.To = 1
	r.untouched(t, func() {
		if seen := must(r.Rollback(t.Context(), in)).Preview; len(seen.Refused) != 1 || seen.Refused[0].Gate != "max_more_records_percent" {
			t.Errorf("to 300 records: %+v", seen)
		}
		_, err := r.Rollback(t.Context(), back(1))
		gateError(t, err, 4, []string{"max_more_records_percent"}, "correct the input, or change the gate with freshet settings")
	})
	gates = dataset.Gates{}
	r.rollback(t, 1, numbered(300))
	in.To = 5
	if seen := must(r.Rollback(t.Context(), in)).Preview; seen.Creates {
		t.Errorf("without change: %+v", seen)
	}
}

// Another publisher commits while a rollback does: the rollback is compared again, and takes that version back too.
func TestRollbackRaces(t *testing.T) {
	for name, theirs := range map[string]func(context.Context, *publish.Publisher) error{
		"a patch": func(ctx context.Context, p *publish.Publisher) error {
			_, err := p.Patch(ctx, "prices", patch(`{"id":"theirs"}`, `{"id":"5","$remove":true}`))
			return err
		},
		"the same rollback": func(ctx context.Context, p *publish.Publisher) error {
			_, err := p.Rollback(ctx, back(2))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, f := newFaulty(t)
			all := history(t, r, 5, func(int) bool { return true })
			other := r.sibling(t)
			races := 0
			f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
				if races++; races == 1 {
					if err := theirs(ctx, other); err != nil {
						t.Error(err)
					}
				}
				return f.Store.PutVersion(ctx, rec)
			}
			got, err := r.Rollback(t.Context(), back(2))
			if err != nil || got.Created != (name == "a patch") {
				t.Fatalf("%+v, %v", got, err)
			}
			if diff := cmp.Diff(map[string]string(all[2]), content(t, r.store, got.Record)); diff != "" {
				t.Error(diff)
			}
			if got.Created && (got.Record.Version != 7 || races != 2) {
				t.Errorf("version %s after %d races", got.Record.ID(), races)
			}
			noTemp(t, r.temp)
		})
	}
}

// A rollback whose answer is lost is repeated with its request id, and makes one version.
func TestRollbackWhoseOutcomeIsUnknownIsRepeated(t *testing.T) {
	r, m := newMute(t)
	history(t, r, 3, func(int) bool { return true })
	in := back(1)
	in.RequestID = "req-1"
	m.loses(true)
	_, err := r.Rollback(t.Context(), in)
	unknown(t, err, r, "prices", "req-1")
	m.loses(false)
	made := must(r.store.Latest(t.Context(), "prices"))
	if _, err := r.Patch(t.Context(), "prices", patch(`{"id":"later"}`)); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Rollback(t.Context(), in); err != nil || !got.Repeated || got.Record.Ref() != made.Ref() {
		t.Errorf("%+v, %v", got, err)
	}
	in.To = 2
	if _, err := r.Rollback(t.Context(), in); !errors.Is(err, publish.ErrRequestID) {
		t.Errorf("another rollback: %v", err)
	}
	if _, err := r.Publish(t.Context(), "prices", asked(first(300), "req-1")); !errors.Is(err, publish.ErrRequestID) {
		t.Errorf("a publish: %v", err)
	}
	if got := r.versions(t, "prices"); got != 5 {
		t.Errorf("there are %d versions", got)
	}
}

// Values that have more bytes together than a rollback holds at a time.
func TestRollbackOfLargeValues(t *testing.T) {
	r, log := newLoggedRig(t, nil)
	m := table{}
	var removals []string
	for i := range 40 {
		m[fmt.Sprint(i)] = fmt.Sprintf(`{"id":"%d","v":"%s"}`, i, strings.Repeat("x", 600<<10))
		removals = append(removals, fmt.Sprintf(`{"id":"%d","$remove":true}`, i))
	}
	m["small"] = `{"id":"small"}`
	m.publish(t, r)
	if _, err := r.Patch(t.Context(), "prices", patch(removals...)); err != nil {
		t.Fatal(err)
	}
	r.rollback(t, 1, m)
	if rebuilt(log) {
		t.Errorf("it read all records: %s", log)
	}
}
