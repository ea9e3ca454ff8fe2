package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

const deletedText = "deleted by ann, because it was mistyped (1970-01-01T00:00:00Z)"

// delete makes version 2 of prices delete it.
func (s *source) delete(dropped bool, serves uint64) {
	s.deleted["prices"] = dataset.VersionRecord{
		Dataset: "prices", Version: 2, Deleted: true, Dropped: dropped, By: "ann", Reason: "it was mistyped", Created: time.Unix(0, 0),
	}
	s.says["prices"] = func(d *fleet.DatasetStatus) {
		d.State, d.Version, d.Newest = fleet.Deleted, 2, 2
		d.Deleted = &fleet.Deletion{By: "ann", Reason: "it was mistyped", At: time.Unix(0, 0), Dropped: dropped, Serves: dataset.Ref{Version: serves}}
	}
}

// A dataset that was deleted goes on answering, and the instance stays ready.
func TestDeletedDatasetAnswers(t *testing.T) {
	s := newSource("prices")
	h := newServer(t, s).Handler()
	s.serve(t, "prices", 1, map[string]string{"a": "{}"})
	s.delete(false, 1)
	if rec := send(h, "GET", "/v1/datasets/prices/records/a", ""); rec.Code != 200 || rec.Header().Get("Freshet-Version") != "1" {
		t.Errorf("%d %s %v", rec.Code, rec.Body, rec.Header())
	}
	wantProblem(t, send(h, "GET", "/v1/datasets/prices/records/b", ""), 404, "unknown-key")
	if rec := send(h, "GET", "/readyz", ""); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// After a drop lookups say who deleted the dataset and why, and the instance stays ready.
func TestDroppedDatasetIsNotFound(t *testing.T) {
	s := newSource("prices")
	h := newServer(t, s).Handler()
	s.serve(t, "prices", 2, nil)
	s.delete(true, 2)
	doc := wantProblem(t, send(h, "GET", "/v1/datasets/prices/records/a", ""), 404, "deleted")
	if doc["detail"] != "dataset prices is "+deletedText+", and this instance has no records of it" || fmt.Sprint(doc["version"]) != "2" {
		t.Errorf("%v", doc)
	}
	wantProblem(t, send(h, "POST", "/v1/datasets/prices/records:batchGet", `{"keys":["a"]}`), 404, "deleted")
	if rec := send(h, "GET", "/readyz", ""); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// An instance that was started after the delete is not ready, and says why.
func TestReadinessOfADeletedDataset(t *testing.T) {
	s := newSource("cities", "prices")
	h := newServer(t, s).Handler()
	s.serve(t, "cities", 1, map[string]string{"a": "{}"})
	s.delete(false, 0)
	doc := wantProblem(t, send(h, "GET", "/readyz", ""), 503, "not-ready")
	if detail := fmt.Sprint(doc["detail"]); !strings.HasPrefix(detail, "prices is "+deletedText+", and this instance has no table of it; ") ||
		fmt.Sprint(doc["deleted"]) != "map[prices:"+deletedText+"]" || doc["waiting"] != nil {
		t.Errorf("%v", doc)
	}
	wantProblem(t, send(h, "GET", "/v1/datasets/prices/records/a", ""), 404, "deleted")
}
