package upstream_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/store"
	"freshet.dev/services/relay/internal/upstream"
)

var storeA, storeB = dataset.StoreID{0xa}, dataset.StoreID{0xb}

// of answers as a relay that reads the store id. It has that version of cities; version 0 means none.
func of(id dataset.StoreID, version uint64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !id.IsZero() {
			w.Header().Set(pull.StoreHeader, id.String())
		}
		if r.URL.Path[strings.LastIndex(r.URL.Path, "/"):] == "/store" {
			_ = json.NewEncoder(w).Encode(map[string]dataset.StoreID{"store": id})
			return
		}
		if version == 0 {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		text, err := dataset.VersionRecord{
			Dataset: "cities", Version: version, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), StoreID: id,
			Snapshot: dataset.Object{Version: version, Digest: digest, Bytes: int64(len(content))},
		}.Encode()
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(text)
	}
}

// Invariant: a version and the store id of its answer belong to one store, and relays of another store are skipped until no
// other relay answers.
func TestOneStoreAnswers(t *testing.T) {
	first, second := serve(t, of(storeA, 3)), serve(t, of(storeB, 7))
	o, log := open(t, time.Minute, ranked(t, first, second)...)
	check := func(id dataset.StoreID, version uint64) {
		t.Helper()
		for range 3 {
			rec, from, err := o.Newest(t.Context(), "cities")
			if from != id || rec.Version != version || (err != nil) != (version == 0) || err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("version %d of store %s, %v, want version %d of %s", rec.Version, from, err, version, id)
			}
			if named, err := o.ID(t.Context()); named != id || err != nil {
				t.Errorf("the store is %s, %v, want %s", named, err, id)
			}
		}
	}
	if _, _, err := o.Newest(t.Context(), "cities"); err != nil { // the first answer decides the origin's store
		t.Fatal(err)
	}
	check(storeA, 3)
	if text := strings.Join(log.lines(), ""); strings.Count(text, "reads another store than this relay answers for") > 1 {
		t.Errorf("the log says %s", text)
	}
	first.become(of(storeA, 0))
	check(storeA, 0) // a version of another store does not replace a 404 of this one
	log.lines()
	if !o.Health()[1].OtherStore || o.Health()[0].OtherStore {
		t.Errorf("%+v", o.Health())
	}

	first.become(status(503)) // the relay is up, and may read the origin's store
	if rec, _, err := o.Newest(t.Context(), "cities"); !errors.Is(err, upstream.ErrBusy) {
		t.Errorf("version %d, %v", rec.Version, err)
	}
	log.lines()
	first.become(abort)
	check(storeB, 7)
	if text := strings.Join(log.lines(), ""); !strings.Contains(text, "answers for that store from now on") || !strings.Contains(text, "store_before="+storeA.String()) {
		t.Errorf("the log says %s", text)
	}
	if o.Health()[1].OtherStore {
		t.Errorf("%+v", o.Health())
	}
	first.become(of(storeA, 5)) // the relay is back and ranks first; the origin keeps its store
	check(storeB, 7)
	second.become(of(dataset.StoreID{}, 8)) // its store cannot be read, and the catalog answers
	if rec, from, err := o.Newest(t.Context(), "cities"); rec.Version != 8 || !from.IsZero() || err != nil {
		t.Errorf("version %d of store %s, %v, want a version 8 that proves nothing", rec.Version, from, err)
	}
	secret(t, log.lines())
}

// Relays of several stores, none of which is the origin's, give no answer: no store is preferable.
func TestStoresThatDisagreeAreNoAnswer(t *testing.T) {
	all := []*fake{serve(t, of(dataset.StoreID{1}, 1)), serve(t, of(storeA, 2)), serve(t, of(storeB, 3))}
	o, _ := open(t, time.Minute, ranked(t, all...)...)
	if rec, _, err := o.Newest(t.Context(), "cities"); rec.Version != 1 || err != nil {
		t.Fatal(rec.Version, err)
	}
	all[0].become(abort)
	if rec, from, err := o.Newest(t.Context(), "cities"); err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), storeA.String()) || !strings.Contains(err.Error(), storeB.String()) {
		t.Errorf("version %d of %s, %v", rec.Version, from, err)
	}
	all[2].become(of(storeA, 2)) // the store is replaced everywhere
	if rec, from, err := o.Newest(t.Context(), "cities"); rec.Version != 2 || from != storeA || err != nil {
		t.Errorf("version %d of %s, %v", rec.Version, from, err)
	}
}
