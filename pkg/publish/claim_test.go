package publish_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"github.com/sourcegraph/conc/pool"
)

// rows returns n records as NDJSON.
func rows(n, value int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"id":"r%06d","v":%d,"text":"some more bytes of a record"}`+"\n", i, value)
	}
	return b.String()
}

// sibling returns a publisher on the rig's store with a handle of its own, as in another process.
func (r *rig) sibling(t *testing.T) *publish.Publisher {
	t.Helper()
	st, err := storeurl.Open(t.Context(), r.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	p, err := publish.Open(publish.Config{TempDir: t.TempDir(), Workers: 2}, publish.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// noClaim fails if a claim is left in the store.
func (r *rig) noClaim(t *testing.T, name string) {
	t.Helper()
	if c, err := r.store.NewestClaim(t.Context(), name, 0, 1<<62); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a claim is left: %+v, %v", c, err)
	}
}

// A publish of all records wins against processes that patch without a pause, although a comparison takes longer than many patches.
func TestPublishWinsAgainstPatchesOfOtherProcesses(t *testing.T) {
	r := newRig(t, nil)
	r.text(t, "prices", rows(30_000, 0))
	ctx, stop := context.WithCancel(t.Context())
	patches := pool.New().WithErrors()
	for i := range 3 {
		p := r.sibling(t)
		patches.Go(func() error {
			for n := 1; ctx.Err() == nil; n++ {
				_, err := p.Patch(ctx, "prices", patchFor(dataset.Ref{}, "", fmt.Sprintf(`{"id":"p%d","v":%d}`, i, n)))
				if err != nil && ctx.Err() == nil && !errors.Is(err, publish.ErrConflict) {
					return err
				}
			}
			return nil
		})
	}
	before := must(r.store.Latest(t.Context(), "prices")).Version
	for r.versionsNow(t, "prices") < before+20 {
		<-time.After(time.Millisecond)
	}
	for round := 1; round <= 2; round++ {
		result, err := r.Publish(t.Context(), "prices", input(rows(30_000, round)))
		if err != nil || !result.Created || result.Record.State.Records != 30_000 {
			t.Errorf("round %d: version %d, %d records: %v", round, result.Record.Version, result.Record.State.Records, err)
		}
		after := r.versionsNow(t, "prices")
		for r.versionsNow(t, "prices") < after+5 { // the patches go on
			<-time.After(time.Millisecond)
		}
	}
	stop()
	if err := patches.Wait(); err != nil {
		t.Error(err)
	}
	r.noClaim(t, "prices")
}

func (r *rig) versionsNow(t *testing.T, name string) uint64 {
	t.Helper()
	return must(r.store.Latest(t.Context(), name)).Version
}

// A claim whose owner died holds a commit up for its time once, whatever the clocks say, and is removed.
func TestClaimOfADeadPublisherEnds(t *testing.T) {
	r := newRig(t, nil)
	r.text(t, "prices", `{"id":"a"}`)
	claim := func(hold time.Duration) {
		t.Helper()
		if err := r.store.PutClaim(t.Context(), dataset.Claim{Dataset: "prices", Version: r.versionsNow(t, "prices") + 1, Owner: "dead", Hold: hold}); err != nil {
			t.Fatal(err)
		}
	}
	const hold = 300 * time.Millisecond
	claim(hold)
	began := time.Now()
	for n := range 3 {
		if _, err := r.Patch(t.Context(), "prices", patchFor(dataset.Ref{}, "", fmt.Sprintf(`{"id":"a","v":%d}`, n))); err != nil {
			t.Fatal(err)
		}
		if n == 0 && time.Since(began) < hold {
			t.Error("a patch did not wait for the claim")
		}
	}
	r.noClaim(t, "prices")

	claim(hold)
	if got := r.text(t, "prices", `{"id":"b"}`); !got.Created {
		t.Errorf("%+v", got)
	}
	r.noClaim(t, "prices")

	// When the owner drops its claim, the wait ends before the claim's time. A wait also ends with its context.
	claim(dataset.MaxClaimHold)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Patch(ctx, "prices", patchFor(dataset.Ref{}, "", `{"id":"a","v":8}`)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, publish.ErrUnknown) {
		t.Errorf("error is %v", err)
	}
	patched := pool.New().WithErrors()
	patched.Go(func() error {
		_, err := r.Patch(t.Context(), "prices", patchFor(dataset.Ref{}, "", `{"id":"a","v":9}`))
		return err
	})
	if err := r.store.DropClaim(t.Context(), "prices", r.versionsNow(t, "prices")+1); err != nil {
		t.Fatal(err)
	}
	if err := patched.Wait(); err != nil {
		t.Error(err)
	}
	noTemp(t, r.temp)
}

// A publish that fails after it made a claim removes it.
func TestClaimOfAPublishThatFailsIsRemoved(t *testing.T) {
	r, f := newFaulty(t)
	r.text(t, "prices", `{"id":"a"}`)
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		theirs := rec // of a release that knows no claims
		theirs.Source = "other"
		theirs.State.Lo++
		if err := f.Store.PutVersion(ctx, theirs); err != nil {
			t.Error(err)
		}
		if _, err := r.store.NewestClaim(ctx, "prices", 0, 1<<62); err == nil {
			return errors.New("disk on fire")
		}
		return f.Store.PutVersion(ctx, rec)
	}
	if _, err := r.Publish(t.Context(), "prices", input(`{"id":"b"}`)); err == nil {
		t.Error("it succeeds")
	}
	if got := r.versionsNow(t, "prices"); got < 4 {
		t.Errorf("it made a claim before version %d", got)
	}
	r.noClaim(t, "prices")
}
