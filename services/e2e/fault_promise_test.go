package e2e

import (
	"net/http"
	"testing"

	"freshet.dev/pkg/fleet"
)

// Invariant: a pipeline that does not keep the cadence which it promised makes the dataset overdue everywhere, though all that there is
// is served; publishing again makes it fresh, also without any change, and who promises nothing is never late.
func TestFaultPipelineIsLate(t *testing.T) {
	tr := newTrial(t, "pipeline later than it promised", setting{})
	tr.promise("3s")
	tr.await("the promise is kept", fresh(tr.newest()))
	tr.begin()
	tr.await("the promise is not kept", saying(fleet.Overdue, tr.newest()))
	tr.publish() // the promise is still there
	tr.await("it is kept again", fresh(tr.newest()))
	tr.await("and broken again", saying(fleet.Overdue, tr.newest()))
	same := tr.history[len(tr.history)-1]
	rec, err := tr.send(t.Context(), http.MethodPost, "/versions", lines(same))
	if err != nil || rec.Version != tr.newest()+1 {
		t.Fatalf("the pipeline has run, with the same records: version %d, %v; want version %d", rec.Version, err, tr.newest()+1)
	}
	tr.history = append(tr.history, same)
	tr.known()
	tr.await("nothing has changed, and that is news", fresh(tr.newest()))
	tr.await("and broken again", saying(fleet.Overdue, tr.newest()))
	tr.end()
	tr.promise("0")
	tr.healed()
}

// promise publishes a version with the promise that another follows within the time; "0" ends the promise.
func (tr *trial) promise(every string) {
	tr.t.Helper()
	text, next := tr.change(8)
	rec, err := tr.sendWith(tr.t.Context(), http.MethodPatch, "", "&expect-every="+every, text)
	if err != nil || rec.Version != tr.newest()+1 {
		tr.t.Fatalf("patch version %d with a promise: it became version %d, %v", tr.newest(), rec.Version, err)
	}
	tr.history = append(tr.history, next)
	tr.known()
}
