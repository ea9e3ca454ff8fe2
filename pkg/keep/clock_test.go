package keep_test

import (
	"crypto/sha256"
	"os"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/keep"
)

func sha256Of(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// jumped returns a rig with versions that retention keeps for 30 days, and a collector that has run.
func jumped(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	for i := range 4 {
		r.publish(t, "prices", records(50, i))
	}
	r.set(t, "prices", `{"keep_versions":1,"keep_for":"30d"}`)
	r.collect(t)
	return r
}

func (r *rig) waits(t *testing.T, why string) {
	t.Helper()
	report := r.gc(t)
	if report.Removed.Objects != 0 || len(report.Waiting) != 1 || !strings.Contains(report.Waiting[0], why) {
		t.Errorf("after the jump the report is %+v, want that it waits because %s", report, why)
	}
}

// After a jump forward the age of every version counts from the jump, also after a restart.
func TestClockJumpsForward(t *testing.T) {
	r := jumped(t)
	r.store.advance(t, 365*24*time.Hour)
	r.waits(t, "jumped by")
	r.offset += 365 * 24 * time.Hour // the process's clock is set too
	r.open(t)
	for range 3 {
		r.collect(t)
		equal(t, "after the jump", r.readable(t, "prices"), []uint64{1, 2, 3, 4})
	}
	r.pass(t, 31*24*time.Hour)
	r.collect(t)
	equal(t, "a month later", r.readable(t, "prices"), []uint64{4})
	r.clean(t)
}

// If both clocks jump, as those of one machine do, the time that has passed tells.
func TestClocksJumpTogether(t *testing.T) {
	r := jumped(t)
	r.pass(t, 2*time.Hour)
	r.gc(t)
	base := time.Now().Add(r.offset)
	r.collector.SetNow(func() time.Time { return base }) // no time passes
	r.store.advance(t, 365*24*time.Hour)
	// A dry run says so too, and it does not make the jump forgotten.
	report, err := r.collector.Run(t.Context(), keep.Request{DryRun: true})
	if err != nil || len(report.Waiting) != 1 {
		t.Errorf("the dry run says %+v, %v", report, err)
	}
	r.waits(t, "jumped by")
	equal(t, "after the jump", r.readable(t, "prices"), []uint64{1, 2, 3, 4})
}

// A clock that goes back, and a store whose clock differs from the process's, remove nothing.
func TestClockGoesBack(t *testing.T) {
	r := jumped(t)
	r.set(t, "prices", `{"keep_for":null}`)
	r.pass(t, 2*time.Hour)
	if report := r.gc(t); report.Marked.Objects == 0 {
		t.Fatalf("nothing is marked: %+v", report)
	}
	r.store.advance(t, -90*24*time.Hour)
	r.offset -= 90 * 24 * time.Hour
	r.open(t) // another process: only the note in the store tells
	r.waits(t, "jumped by")
	if notes, err := r.store.Notes(t.Context(), "mark-"); err != nil || len(notes) != 0 {
		t.Errorf("marks of before the jump are left: %v, %v", notes, err)
	}
	r.offset += time.Hour
	r.open(t)
	r.waits(t, "set the wrong one right")
	equal(t, "after the jump", r.readable(t, "prices"), []uint64{1, 2, 3, 4})
}

// A record that was written while the clock was behind does not make versions look old.
func TestRecordOfAClockThatWasBehind(t *testing.T) {
	r := jumped(t)
	past := time.Unix(0, 0)
	for _, version := range []uint64{2, 3} {
		if err := os.Chtimes(r.store.RecordPlace("prices", version), past, past); err != nil {
			t.Fatal(err)
		}
	}
	r.collect(t)
	equal(t, "two records of 1970", r.readable(t, "prices"), []uint64{1, 2, 3, 4})
}
