package publish_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/storeurl"
)

// A log and a catalog that another store used are brought to the store's versions, once: if the other store's versions come
// back, both stores are in use, and the repair reports it.
func TestRepairOfAForeignLog(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 2)
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	theirs, err := w.dead.store.Latest(t.Context(), "prices")
	if err != nil {
		t.Fatal(err)
	}
	foreign := newRig(t, nil)
	other := w.publisher(t, foreign.store)
	ours := foreign.text(t, "prices", `{"id":"z"}`).Record
	want := []publish.RepairResult{
		{What: publish.RepairAnnounce, Dataset: "prices", From: 1, To: 1, Replaced: theirs.Ref()},
		{What: publish.RepairIndex, Dataset: "prices", From: 1, To: 1, Replaced: theirs.Ref()},
	}
	repairs, err := other.Repair(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "repairs", want, repairs)
	equal(t, "indexed", []uint64{1}, w.indexed(t, "prices"))
	equal(t, "announced", []uint64{1, 2, 1}, w.announced(t, "prices"))
	latest, err := w.log.Latest(t.Context(), []string{"prices"})
	if err != nil || latest["prices"].Ref() != ours.Ref() {
		t.Errorf("the log ends with %+v, %v", latest, err)
	}
	if _, err := w.alive.Repair(t.Context()); err != nil { // the other store's publisher is there still
		t.Fatal(err)
	}
	if _, err := other.Repair(t.Context()); !errors.Is(err, events.ErrConflict) || !strings.Contains(err.Error(), "it is of store "+theirs.StoreID.String()) {
		t.Errorf("error is %v", err)
	}
	result, err := other.Publish(t.Context(), "prices", input(`{"id":"y"}`))
	if err != nil || result.Announced || result.Indexed || !result.LogConflict || len(result.Warnings) != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	for n, one := range []struct {
		conflict error
		server   string
	}{{events.ErrConflict, "or a NATS,"}, {catalog.ErrConflict, "or a Redis,"}} {
		want := []string{
			one.conflict.Error() + ": version " + theirs.Ref().String(), "it is of store " + theirs.StoreID.String(),
			"this is store " + ours.StoreID.String() + ", whose newest version is " + result.Record.Ref().String(), one.server,
		}
		for _, text := range want {
			if !strings.Contains(result.Warnings[n], text) {
				t.Errorf("%q is not in the warning %q", text, result.Warnings[n])
			}
		}
	}
}

// overtaken is an event log in which another publisher announces a version between the read of the last event and the announcement.
type overtaken struct {
	*events.Log
	by dataset.VersionRecord
}

func (o *overtaken) Supersede(ctx context.Context, rec, over dataset.VersionRecord) error {
	if by := o.by; by.Version > 0 {
		o.by = dataset.VersionRecord{}
		if err := o.Log.Supersede(ctx, by, over); err != nil {
			return err
		}
	}
	return o.Log.Supersede(ctx, rec, over)
}

// Two publishers use copies of one store. The publish of the one whose version is not announced says so, and that one of them is to be
// stopped; once the other is, a publish announces the version.
func TestPublishBesideACopyOfTheStore(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 2)
	folder := strings.TrimPrefix(w.dead.store.String(), "dir://")
	open := func() *rig {
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
		st, err := storeurl.Open(t.Context(), "dir://"+copied)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		return &rig{Publisher: w.publisher(t, st), store: st, url: "dir://" + copied, temp: t.TempDir()}
	}
	ours := open()
	first := open().text(t, "prices", `{"id":"first"}`).Record // announced as version 3
	quiet, err := publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{Store: open().store})
	if err != nil {
		t.Fatal(err)
	}
	second, err := quiet.Publish(t.Context(), "prices", input(`{"id":"second"}`))
	if err != nil {
		t.Fatal(err)
	}
	theirs := second.Record
	log := &overtaken{Log: w.log, by: theirs}
	p, err := publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{Store: ours.store, Events: log})
	if err != nil {
		t.Fatal(err)
	}
	result, err := p.Publish(t.Context(), "prices", input(`{"id":"ours"}`))
	if err != nil || result.Announced || !result.LogConflict || len(result.Warnings) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	for _, want := range []string{
		"it ends with version " + theirs.Ref().String() + " of store " + first.StoreID.String(), "is " + result.Record.Ref().String(), "stop one of them, and publish again",
	} {
		if !strings.Contains(result.Warnings[0], want) {
			t.Errorf("%q is not in the warning %q", want, result.Warnings[0])
		}
	}
	// The other publisher is stopped: it announces nothing more.
	again, err := p.Publish(t.Context(), "prices", input(`{"id":"ours"}`))
	if err != nil || again.Created || !again.Announced || again.LogConflict || again.Record.Ref() != result.Record.Ref() {
		t.Errorf("%+v, %v", again, err)
	}
	latest, err := w.log.Latest(t.Context(), []string{"prices"})
	if err != nil || latest["prices"].Ref() != result.Record.Ref() {
		t.Errorf("the log ends with %+v, %v", latest, err)
	}
}

// After a restore from an older copy the log and the catalog come down to the store's newest version, and up again with
// versions of the same numbers.
func TestRepairAfterARestore(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 3)
	folder := strings.TrimPrefix(w.dead.store.String(), "dir://")
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	w.commit(t, "prices", 2)
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost, err := w.dead.store.Latest(t.Context(), "prices")
	if err != nil {
		t.Fatal(err)
	}
	restored, err := storeurl.Open(t.Context(), "dir://"+copied)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = restored.Close() })
	p := w.publisher(t, restored)
	repairs, err := p.Repair(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "repairs", []publish.RepairResult{
		{What: publish.RepairAnnounce, Dataset: "prices", From: 3, To: 3, Replaced: lost.Ref()},
		{What: publish.RepairIndex, Dataset: "prices", From: 3, To: 3, Replaced: lost.Ref()},
	}, repairs)
	for i := range 2 {
		result, err := p.Publish(t.Context(), "prices", input(fmt.Sprintf(`{"id":"other","v":%d}`, i)))
		if err != nil || !result.Announced || !result.Indexed || len(result.Warnings) > 0 {
			t.Fatalf("%+v, %v", result, err)
		}
		latest, err := w.log.Latest(t.Context(), []string{"prices"})
		if err != nil || latest["prices"].Ref() != result.Record.Ref() || result.Record.Version != uint64(4+i) {
			t.Errorf("the log ends with %+v, %v", latest, err)
		}
	}
	if repairs, err := p.Repair(t.Context()); err != nil || len(repairs) > 0 {
		t.Errorf("%+v, %v", repairs, err)
	}
}
