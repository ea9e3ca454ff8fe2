package publisher_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
	"freshet.dev/services/publisher"
)

const deleteURL = "/v1/datasets/prices/delete"

func TestDelete(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	wantProblem(t, send(h, "POST", deleteURL+"?reason=why", ""), 404, "unknown-dataset")
	for range 2 {
		if rec := send(h, "POST", versions+"?key=id", idLines(0, 300)); rec.Code/100 != 2 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	if p := wantProblem(t, send(h, "POST", "/v1/datasets/price/delete?reason=why", ""), 404, "unknown-dataset"); !strings.Contains(p.Detail, "did you mean prices?") {
		t.Errorf("%+v", p)
	}
	rec := send(h, "POST", deleteURL+"?reason=it+was+mistyped&dry_run=true", "")
	if got := decode[publisher.Publication](t, rec); rec.Code != 200 || got.Created || !got.Preview.Creates || got.Preview.Changes.Removed != 300 || len(got.Preview.Refused) > 0 {
		t.Errorf("dry run: %d %s", rec.Code, rec.Body)
	}
	rec = send(h, "POST", deleteURL+"?reason=it+was+mistyped", "", "Freshet-By", "ann@db1", "Idempotency-Key", "req-1")
	got := decode[publisher.Publication](t, rec)
	if rec.Code != 201 || rec.Header().Get("Location") != versions+"/2" || !got.Record.Deleted || got.Record.Dropped || got.Record.By != "ann@db1" ||
		got.Record.Reason != "it was mistyped" || got.Record.Changes != (dataset.Changes{Removed: 300}) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	rec = send(h, "POST", deleteURL+"?reason=it+was+mistyped", "", "Idempotency-Key", "req-1")
	if got := decode[publisher.Publication](t, rec); rec.Code != 201 || !got.Repeated || got.Record.Version != 2 {
		t.Errorf("repeated: %d %s", rec.Code, rec.Body)
	}
	rec = send(h, "POST", deleteURL+"?reason=why", "")
	if got := decode[publisher.Publication](t, rec); rec.Code != 200 || got.Created || got.Record.Version != 2 {
		t.Errorf("deleted before: %d %s", rec.Code, rec.Body)
	}

	const by = "deleted by ann@db1, because it was mistyped ("
	for _, path := range []string{"records/1", "records:export", "keys"} {
		if p := wantProblem(t, send(h, "GET", "/v1/datasets/prices/"+path, ""), 404, "deleted"); !strings.Contains(p.Detail, by) {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if rec := send(h, "GET", "/v1/datasets/prices/size", ""); rec.Code != 200 {
		t.Errorf("size: %d %s", rec.Code, rec.Body)
	}
	if p := wantProblem(t, send(h, "PATCH", "/v1/datasets/prices?key=id", "{\"id\":\"1\"}"), 409, "deleted"); !strings.Contains(p.Detail, by) {
		t.Errorf("a patch: %+v", p)
	}
	wantProblem(t, send(h, "POST", deleteURL, ""), 400, "bad-input")
	for _, query := range []string{"drop=x", "force=1", "to=1", "allow_shrink=true"} {
		wantProblem(t, send(h, "POST", deleteURL+"?reason=why&"+query, ""), 400, "bad-parameter")
	}
	wantProblem(t, send(h, "POST", "/v1/datasets/Prices/delete?reason=why", ""), 400, "bad-input")
	if rec := send(h, "GET", deleteURL, ""); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", rec.Code)
	}

	rec = send(h, "POST", deleteURL+"?reason=why&drop=true", "")
	if got := decode[publisher.Publication](t, rec); rec.Code != 201 || !got.Record.Dropped || got.Record.Version != 3 {
		t.Errorf("dropped: %d %s", rec.Code, rec.Body)
	}
	wantProblem(t, send(h, "POST", rollbackURL+"?to=2&reason=why", ""), 409, "deleted")
	rec = send(h, "POST", rollbackURL+"?to=1&reason=why", "")
	if got := decode[publisher.Publication](t, rec); rec.Code != 201 || got.Record.State.Records != 300 || got.Record.Version != 4 {
		t.Errorf("rolled back: %d %s", rec.Code, rec.Body)
	}
}

// A deleted dataset is listed as long as a rollback can bring its content back.
func TestListOfDeletedDatasets(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	listed := func() bool {
		t.Helper()
		rec := send(h, "GET", "/v1/datasets", "")
		list := decode[struct{ Datasets []publisher.Dataset }](t, rec)
		if rec.Code != 200 || list.Datasets == nil {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		return len(list.Datasets) == 1 && list.Datasets[0].Latest.Deleted
	}
	for _, text := range []string{idLines(0, 300), idLines(0, 310)} {
		send(h, "POST", versions+"?key=id", text)
	}
	var objects []dataset.Object
	for version := range uint64(2) {
		rec, err := s.Version(t.Context(), "prices", version+1)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, rec.Chain()...)
	}
	if rec := send(h, "POST", deleteURL+"?reason=why", ""); rec.Code != 201 || !listed() {
		t.Errorf("%d %s; or it is not listed", rec.Code, rec.Body)
	}
	remove := func(o dataset.Object) {
		t.Helper()
		if err := os.Remove(s.ObjectPlace(o.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	remove(objects[len(objects)-1])
	if !listed() {
		t.Error("it is not listed, and version 1 can be restored")
	}
	if rec := send(h, "POST", deleteURL+"?reason=why&drop=true", ""); rec.Code != 201 || !listed() {
		t.Errorf("%d %s; or it is not listed", rec.Code, rec.Body)
	}
	remove(objects[0])
	if listed() {
		t.Error("it is listed, and nothing can be restored")
	}
	if rec := send(h, "GET", versions, ""); rec.Code != 200 || len(decode[publisher.VersionList](t, rec).Versions) != 4 {
		t.Errorf("its versions: %d %s", rec.Code, rec.Body)
	}
}

// A delete is refused while an instance with the dataset is of a release that would empty its table: one that answers over NATS, and one
// that has a record in Redis. It is refused too while that is not known.
func TestDeleteIsRefusedByOldInstances(t *testing.T) {
	n, r := servertest.NATS(t), servertest.Redis(t)
	nc, err := events.Connect(n.URL, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	rdb, err := catalog.Connect(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	records := catalog.New(rdb, "")
	s := openStore(t)
	h := newPublisher(t, s, func(_ *publisher.Config, d *publisher.Deps) { d.NATS, d.Catalog = nc, records }).Handler()
	send(h, "POST", versions+"?key=id", idLines(0, 3))

	status := fleet.Status{Instance: "i1", Datasets: []fleet.DatasetStatus{{Dataset: "prices", Version: 1}}}
	stop := answerAs(t, n.URL, status)
	text, err := json.Marshal(fleet.Status{Instance: "i2", Datasets: status.Datasets})
	if err != nil {
		t.Fatal(err)
	}
	if err := records.RecordInstance(t.Context(), "i2", text); err != nil {
		t.Fatal(err)
	}
	p := wantProblem(t, send(h, "POST", deleteURL+"?reason=why", ""), 422, "old-instances")
	if !strings.Contains(p.Detail, "dataset prices: i1, i2; nothing was published; upgrade them first, or delete it with --force") {
		t.Errorf("%+v", p)
	}
	wantProblem(t, send(h, "POST", deleteURL+"?reason=why&dry_run=true", ""), 422, "old-instances")
	stop()
	if err := records.ForgetInstance(t.Context(), "i2"); err != nil {
		t.Fatal(err)
	}

	// An instance that has upgraded does not hold the delete up, one that does not answer does.
	status.Abilities = fleet.Abilities()
	stop = answerAs(t, n.URL, status)
	if rec := send(h, "POST", deleteURL+"?reason=why&dry_run=true", ""); rec.Code != 200 {
		t.Errorf("after the upgrade: %d %s", rec.Code, rec.Body)
	}
	stop()
	n.Stop()
	if p := wantProblem(t, send(h, "POST", deleteURL+"?reason=why", ""), 503, "instances-unknown"); !strings.Contains(p.Detail, "not connected to NATS; nothing was published") {
		t.Errorf("%+v", p)
	}
	if rec := send(h, "POST", deleteURL+"?reason=why&force=true", ""); rec.Code != 201 {
		t.Errorf("forced: %d %s", rec.Code, rec.Body)
	}
}

// answerAs answers as the instance until stop is called.
func answerAs(t *testing.T, url string, status fleet.Status) (stop func()) {
	t.Helper()
	nc, err := events.Connect(url, "instance", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- fleet.NewResponder(nc, "", func() fleet.Status { return status }).Run(ctx) }()
	for {
		if all, err := fleet.Survey(t.Context(), nc, fleet.SurveyOptions{}); err == nil && len(all) == 1 {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the instance does not answer")
		}
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		nc.Close()
	}
}
