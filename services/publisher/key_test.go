package publisher_test

import (
	"net/http"
	"strings"
	"testing"

	"freshet.dev/services/publisher"
)

// The first publish sets the key. Without the parameter it holds, and another is refused, also for a patch.
func TestKeyOfTheDataset(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	const body = `{"shop":"n:1","sku":7,"old":"A"}` + "\n"
	if rec := send(h, "POST", versions+"?key=shop&key=sku&by=ann", body); rec.Code != http.StatusCreated {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	rec := send(h, "GET", settingsPath, "")
	if got := decode[publisher.DatasetSettings](t, rec); strings.Join(got.Settings.Input.Key, " ") != "shop sku" || got.Settings.Input.NumberKeys != "plain" || got.By != "ann" {
		t.Errorf("%s", rec.Body)
	}
	if rec := send(h, "GET", "/v1/datasets/prices/records/n~11:7", ""); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `"old":"A"`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "POST", versions, body); rec.Code != http.StatusOK {
		t.Errorf("the same again: %d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "PATCH", patchURL, `{"shop":"s","sku":8}`+"\n"); rec.Code != http.StatusCreated {
		t.Errorf("a patch: %d %s", rec.Code, rec.Body)
	}
	for _, request := range [][2]string{{"POST", versions + "?key=old"}, {"PATCH", patchURL + "?key=old"}, {"POST", versions + "?key=sku&key=shop&dry_run=true"}} {
		p := wantProblem(t, send(h, request[0], request[1], body), http.StatusUnprocessableEntity, "key-refused")
		if !strings.Contains(p.Detail, `the key of the dataset is "shop", "sku", by its setting key`) || !strings.Contains(p.Detail, "nothing was published") || p.Dataset != "prices" {
			t.Errorf("%+v", p)
		}
	}
	wantProblem(t, send(h, "POST", versions, `{"shop":"s","sku":8.0}`), http.StatusBadRequest, "bad-input")
	change := `{"settings":{"key":"old","number_keys":"integer"},"reason":"x"}`
	if rec := send(h, "PATCH", settingsPath, change); rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "POST", versions+"?key=old", `{"old":7.0}`); rec.Code != http.StatusCreated {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "GET", "/v1/datasets/prices/records/7", ""); rec.Code != http.StatusOK {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// Who changes the key of a dataset that has records learns what a patch would do.
func TestChangeOfTheKeyWarns(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	if rec := send(h, "POST", versions+"?key=a", `{"a":"1","b":"2"}`); rec.Code != http.StatusCreated {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for settings, warns := range map[string]bool{`{"key":"b"}`: true, `{"number_keys":"integer"}`: false, `{"key":null}`: false} {
		got := decode[publisher.DatasetSettings](t, send(h, "PATCH", settingsPath, `{"settings":`+settings+`,"reason":"x"}`))
		text := strings.Join(got.Warnings, "; ")
		if warned := strings.Contains(text, "the records of version 1 keep the keys that they have"); warned != warns || len(got.Warnings) > 1 {
			t.Errorf("%s: the warnings are %s", settings, text)
		}
	}
}

// An export under the settings of the dataset is read back by a publish without a key.
func TestExportUsesTheKey(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	if rec := send(h, "PATCH", settingsPath, `{"settings":{"key":["a,b","c"],"number_keys":"integer"},"reason":"x"}`); rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	const body = `{"a,b":1.0,"c":"x:y","v":1}` + "\n"
	first := send(h, "POST", versions, body)
	if first.Code != http.StatusCreated {
		t.Fatalf("%d %s", first.Code, first.Body)
	}
	rec := send(h, "GET", "/v1/datasets/prices/records:export", "")
	if rec.Code != http.StatusOK || rec.Body.String() != body || rec.Header().Get(publisher.KeyMemberTrailer) != "a%2Cb,c" {
		t.Errorf("%d %q %v", rec.Code, rec.Body, rec.Header())
	}
	if again := send(h, "POST", versions, rec.Body.String()); again.Code != http.StatusOK {
		t.Errorf("%d %s", again.Code, again.Body)
	}
	wantProblem(t, send(h, "GET", "/v1/datasets/prices/records:export?key=v", ""), http.StatusNotAcceptable, "record-not-writable")
	wantProblem(t, send(h, "GET", "/v1/datasets/prices/records:export?key=v&key=v", ""), http.StatusBadRequest, "bad-parameter")
}
