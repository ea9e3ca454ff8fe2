package history_test

import (
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	"freshet.dev/pkg/publish"
	"github.com/google/go-cmp/cmp"
)

// A reader of a deleted version says who deleted it and where the records are. Comparisons and the history of a key show that all records
// were removed.
func TestDeletedVersion(t *testing.T) {
	r := newRig(t, 8)
	content := map[string]string{"a": "1", "b": "2", "c": "3"}
	r.publish(t, content)
	for _, drop := range []bool{false, true} {
		in := publish.DeleteInput{Dataset: name, Reason: "it was mistyped", By: "ann@db1", Drop: drop}
		if got, err := r.Delete(t.Context(), in); err != nil || !got.Created {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	for _, version := range []uint64{0, 2, 3} {
		_, err := r.Open(t.Context(), name, version)
		deleted, ok := errors.AsType[*history.DeletedError](err)
		if !ok || !errors.Is(err, history.ErrDeleted) || deleted.Last != 1 || !strings.Contains(err.Error(), "deleted by ann@db1, because it was mistyped (") ||
			!strings.Contains(err.Error(), "`freshet rollback prices --to 1`") {
			t.Errorf("version %d: %v", version, err)
		}
	}
	d, err := r.Diff(t.Context(), name, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if counts, err := d.Count(t.Context()); err != nil || counts != (dataset.Changes{Removed: 3}) {
		t.Errorf("it differs by %+v, %v", counts, err)
	}
	if size, err := r.Size(t.Context(), name, 0, 3); err != nil || size.Version.State.Records != 0 || len(size.Growth) != 3 {
		t.Errorf("its size is %+v, %v", size, err)
	}
	r.publish(t, content)
	line, err := r.History(t.Context(), name, []byte("b"), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for e, err := range line.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e.Version.ID()+" "+e.Change.Op.String())
	}
	if diff := cmp.Diff([]string{"prices/4 added", "prices/2 removed", "prices/1 added"}, events); diff != "" {
		t.Error(diff)
	}
}
