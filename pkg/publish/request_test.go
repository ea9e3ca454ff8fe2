package publish_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
	"github.com/sourcegraph/conc/pool"
)

// mute is a store whose answers to commits are lost, and that cannot be read for a while after one.
type mute struct {
	store.Store
	mu     sync.Mutex
	lose   bool
	silent bool
}

var errBroken = errors.New("the connection broke")

func (m *mute) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	err := m.Store.PutVersion(ctx, rec)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lose && err == nil {
		m.silent = true
		return errBroken
	}
	return err
}

func (m *mute) Version(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	m.mu.Lock()
	silent := m.silent
	m.silent = false
	m.mu.Unlock()
	if silent {
		return dataset.VersionRecord{}, errBroken
	}
	return m.Store.Version(ctx, name, version)
}

func (m *mute) loses(yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lose = yes
}

func newMute(t *testing.T) (*rig, *mute) {
	m := &mute{}
	r := newRig(t, func(_ *publish.Config, d *publish.Deps) {
		m.Store = d.Store
		d.Store = m
	})
	return r, m
}

// asked returns in with a request id.
func asked(in publish.Input, id string) publish.Input {
	in.RequestID = id
	return in
}

// patchFor returns a patch for the version base, of any if that is zero.
func patchFor(base dataset.Ref, id string, lines ...string) publish.PatchInput {
	in := publish.PatchInput{Input: asked(input(lines...), id), Base: base.Version}
	if !base.ID.IsZero() {
		in.BaseID = base.ID.String()
	}
	return in
}

// unknown fails unless err is an ErrUnknown that says how to find out.
func unknown(t *testing.T, err error, r *rig, name, id string) {
	t.Helper()
	if !errors.Is(err, publish.ErrUnknown) || !errors.Is(err, errBroken) {
		t.Fatalf("want an ErrUnknown, got %v", err)
	}
	newest := must(r.store.Latest(t.Context(), name)) // what `freshet versions` shows
	for _, text := range []string{
		newest.ID(), fmt.Sprintf("shows version %d with the id %s", newest.Version, newest.VersionID().Short()), "`freshet versions " + name + "`",
		"repeat the request with its id " + id,
	} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error lacks %q: %v", text, err)
		}
	}
}

func (r *rig) versions(t *testing.T, name string) int {
	t.Helper()
	return len(must(r.store.Versions(t.Context(), name, 0, 0)))
}

func TestPublishWhoseOutcomeIsUnknownIsRepeated(t *testing.T) {
	r, m := newMute(t)
	all := []string{`{"id":"a"}`, `{"id":"b"}`}
	m.loses(true)
	_, err := r.Publish(t.Context(), "prices", asked(input(all...), "req-1"))
	unknown(t, err, r, "prices", "req-1")
	m.loses(false)
	first := must(r.store.Latest(t.Context(), "prices"))

	again, err := r.Publish(t.Context(), "prices", asked(input(all...), "req-1"))
	if err != nil || !again.Repeated || !again.Created || again.Record.Ref() != first.Ref() {
		t.Fatalf("%+v, %v", again, err)
	}
	// Also after another publisher's version: the repetition does not take that back.
	if got := r.text(t, "prices", `{"id":"z"}`); got.Record.Version != 2 || got.Repeated {
		t.Fatalf("%+v", got)
	}
	if again, err = r.Publish(t.Context(), "prices", asked(input(all...), "req-1")); err != nil || !again.Repeated || again.Record.Ref() != first.Ref() {
		t.Fatalf("%+v, %v", again, err)
	}
	_, err = r.Publish(t.Context(), "prices", asked(input(`{"id":"other"}`), "req-1"))
	if !errors.Is(err, publish.ErrRequestID) || !strings.Contains(err.Error(), "draw another id") {
		t.Errorf("the id of another request: %v", err)
	}
	if got := r.versions(t, "prices"); got != 2 {
		t.Errorf("there are %d versions", got)
	}
	if got, err := r.Publish(t.Context(), "prices", asked(input(`{"id":"other"}`), "req-2")); err != nil || got.Repeated || got.Record.Version != 3 {
		t.Errorf("with another id: %+v, %v", got, err)
	}
}

func TestPatchWhoseOutcomeIsUnknownIsRepeatedWithItsBase(t *testing.T) {
	r, m := newMute(t)
	base := r.text(t, "prices", "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}").Record.Ref()
	changes := []string{`{"id":"a","v":1}`, `{"id":"d"}`, `{"id":"b","$remove":true}`, `{"id":"c"}`, `{"id":"y","$remove":true}`}
	m.loses(true)
	_, err := r.Patch(t.Context(), "prices", patchFor(base, "req-1", changes...))
	unknown(t, err, r, "prices", "req-1")
	m.loses(false)
	made := must(r.store.Latest(t.Context(), "prices"))

	want := publish.PatchResult{
		Result:  publish.Result{Record: made, Created: true, Repeated: true},
		Changes: dataset.Changes{Added: 1, Changed: 1, Removed: 1}, Unchanged: 1, Missing: 1,
	}
	repeat := func() {
		t.Helper()
		got, err := r.Patch(t.Context(), "prices", patchFor(base, "req-1", changes...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	repeat()
	if _, err := r.Patch(t.Context(), "prices", patchFor(base, "", changes...)); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("without the id: %v", err)
	}
	for range 11 {
		if _, err := r.Patch(t.Context(), "prices", patchFor(dataset.Ref{}, "", fmt.Sprintf(`{"id":"a","v":%d}`, 2+r.versions(t, "prices")))); err != nil {
			t.Fatal(err)
		}
	}
	r.damageRecord(t, "prices", 5)
	repeat()
	if got, err := r.Patch(t.Context(), "prices", patchFor(dataset.Ref{}, "req-1", changes...)); err != nil || !got.Repeated {
		t.Errorf("without the base: %+v, %v", got, err)
	}
	for what, in := range map[string]publish.PatchInput{
		"other changes": patchFor(base, "req-1", `{"id":"a","v":7}`),
		"fewer changes": patchFor(base, "req-1", changes[0]),
		"another base":  patchFor(dataset.Ref{Version: 2, ID: made.VersionID()}, "req-1", changes...),
	} {
		if _, err := r.Patch(t.Context(), "prices", in); !errors.Is(err, publish.ErrRequestID) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if newest := must(r.store.Latest(t.Context(), "prices")); newest.Version != 13 || newest.RequestID != "" {
		t.Errorf("the newest version is %s, of the request %q", newest.ID(), newest.RequestID)
	}
}

// A commit that its caller gave up may reach the store later.
func TestCommitThatWasGivenUpIsUnknown(t *testing.T) {
	for name, cause := range map[string]error{
		"deadline": context.DeadlineExceeded, "canceled": context.Canceled, "unknown": fmt.Errorf("%w: %w", store.ErrUnknown, errBroken),
	} {
		t.Run(name, func(t *testing.T) {
			r, f := newFaulty(t)
			var late dataset.VersionRecord
			f.putVersion = func(_ context.Context, rec dataset.VersionRecord) error {
				late = rec
				return cause
			}
			_, err := r.Publish(t.Context(), "prices", asked(input(`{"id":"a"}`), "req-1"))
			if !errors.Is(err, publish.ErrUnknown) || !errors.Is(err, cause) || !strings.Contains(err.Error(), late.VersionID().Short()) {
				t.Fatalf("the error is %v", err)
			}
			if err := f.Store.PutVersion(t.Context(), late); err != nil {
				t.Fatal(err)
			}
			f.putVersion = nil
			again, err := r.Publish(t.Context(), "prices", asked(input(`{"id":"a"}`), "req-1"))
			if err != nil || !again.Repeated || again.Record.Ref() != late.Ref() {
				t.Errorf("%+v, %v", again, err)
			}
		})
	}
}

// A request that two publishers carry out at the same time makes one version.
func TestRequestThatIsCarriedOutTwiceMakesOneVersion(t *testing.T) {
	r := newRig(t, nil)
	base := r.text(t, "prices", `{"id":"a"}`).Record.Ref()
	other, err := publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 10 {
		id := fmt.Sprint("req-", round)
		both := pool.NewWithResults[publish.PatchResult]().WithErrors()
		for _, p := range []*publish.Publisher{r.Publisher, other, other} {
			both.Go(func() (publish.PatchResult, error) {
				return p.Patch(t.Context(), "prices", patchFor(base, id, fmt.Sprintf(`{"id":"n%d"}`, round)))
			})
		}
		results, err := both.Wait()
		if err != nil {
			t.Fatal(err)
		}
		repeated, made := 0, results[0].Record.Ref()
		for _, got := range results {
			if got.Record.Version != base.Version+1 || got.Record.Ref() != made || !got.Created {
				t.Errorf("version %s, created %v", got.Record.Ref(), got.Created)
			}
			if got.Repeated {
				repeated++
			}
		}
		if repeated != 2 {
			t.Errorf("%d of the results are of a repetition", repeated)
		}
		base = made
	}
}

func TestBadRequestIDsAreRefused(t *testing.T) {
	r := newRig(t, nil)
	for _, id := range []string{"a b", "ü", `"x"`, "a\n", strings.Repeat("x", dataset.MaxRequestIDBytes+1), "<"} {
		_, err := r.Publish(t.Context(), "prices", asked(input(`{"id":"a"}`), id))
		if !errors.Is(err, publish.ErrInput) || !errors.Is(err, dataset.ErrRequestID) || !strings.Contains(err.Error(), "use 1 to 128 of A-Z") {
			t.Errorf("%q: %v", id, err)
		}
		if _, err = r.Patch(t.Context(), "prices", patchFor(dataset.Ref{}, id, `{"id":"a"}`)); !errors.Is(err, publish.ErrInput) {
			t.Errorf("%q: %v", id, err)
		}
	}
	longest := strings.Repeat("aZ09._:+/=-", 12)[:dataset.MaxRequestIDBytes]
	if got, err := r.Publish(t.Context(), "prices", asked(input(`{"id":"a"}`), longest)); err != nil || got.Record.RequestID != longest {
		t.Errorf("%+v, %v", got, err)
	}
}
