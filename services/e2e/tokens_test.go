package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
)

// token returns the token of the store's newest version, as the publisher answers it to a publish of the same records.
func (w *restoration) token() dataset.Token {
	w.t.Helper()
	content := w.history[len(w.history)-1]
	status, _, body, err := do(w.t.Context(), http.MethodPost, w.Publisher.URL+"/v1/datasets/"+w.name+"/versions?key=key", "application/x-ndjson", []byte(lines(content)))
	var answer struct{ Token dataset.Token }
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil || status != http.StatusOK || answer.Token.Version != w.newest() || answer.Token.ID.String() != w.record().ID {
		w.t.Fatalf("%d %s: %v", status, body, err)
	}
	return answer.Token
}

// readAtLeast reads from the instance with the token.
func readAtLeast(ctx context.Context, i *program, token dataset.Token, wait time.Duration) (status int, header http.Header, err error) {
	status, header, body, err := do(ctx, http.MethodPost, fmt.Sprintf("%s/v1/datasets/%s/records:batchGet?at_least=%s&wait=%s", i.URL, token.Dataset, token, wait),
		"application/json", []byte(`{"keys":["key-1"]}`))
	if err == nil && status != http.StatusOK && header.Get("Content-Type") != "application/problem+json" {
		err = fmt.Errorf("%d %s", status, body)
	}
	return status, header, err
}

// A client that has published reads its write from every instance that it may meet: an instance waits for the version, and one that cannot get
// it says so. After a restore of the store to another history, the number that the token names satisfies no read.
func TestReadYourWrites(t *testing.T) {
	w := newRestoration(t, 1)
	slow := newProxy(t, w.Relay.URL)
	w.follow("one", true)
	w.follow("two", false)
	three := start(t, "server", "NATS_URL="+w.NATS.URL, "REDIS_URL="+w.Redis.URL, "RELAYS="+slow.URL, "DATASETS="+w.name, "INSTANCE=three", "NAMESPACE="+w.namespace)
	all := []*program{w.fleet[0].program, w.fleet[1].program, three}
	want := func(i *program, token dataset.Token, wait time.Duration, status int, kind string) http.Header {
		t.Helper()
		got, header, err := readAtLeast(t.Context(), i, token, wait)
		if err != nil || got != status || header.Get("Freshet-Error") != kind || header.Get("Freshet-State") == "" {
			t.Errorf("%s answers %d %v to the token %s: %v; want %d %s", i.URL, got, header, token, err, status, kind)
		}
		return header
	}

	for range 3 {
		w.patch(8)
		token := w.token()
		for _, i := range all {
			header := want(i, token, 10*time.Second, http.StatusOK, "")
			if version, err := strconv.ParseUint(header.Get("Freshet-Version"), 10, 64); err != nil || version < token.Version {
				t.Errorf("%s answers from version %d to the token %s: %v", i.URL, version, token, err)
			}
		}
	}
	backup, history := w.copied(), w.history[:w.newest():w.newest()]

	// The relay of an instance does not answer.
	slow.part()
	before := w.newest()
	w.patch(8)
	lost := w.token()
	for _, i := range all[:2] {
		want(i, lost, 10*time.Second, http.StatusOK, "")
	}
	header := want(three, lost, 300*time.Millisecond, http.StatusServiceUnavailable, "not-yet")
	if header.Get("Retry-After") == "" || header.Get("Freshet-Version") != fmt.Sprint(before) {
		t.Errorf("the slow instance answers %v", header)
	}
	slow.heal()
	eventually(t, func(ctx context.Context) error {
		status, header, err := readAtLeast(ctx, three, lost, 10*time.Second)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("the slow instance answers %d %v", status, header)
		}
		return err
	})

	// The store is restored from a copy that lacks the version, and goes on beyond its number.
	w.down()
	w.exchange(backup, history)
	w.up()
	w.follows("the copy is in place")
	for _, i := range all[:2] {
		want(i, lost, 0, http.StatusServiceUnavailable, "not-yet")
	}
	for w.newest() <= lost.Version {
		w.patch(8)
	}
	now := w.token()
	for _, i := range all {
		want(i, now, 10*time.Second, http.StatusOK, "")
		header := want(i, lost, 5*time.Second, http.StatusPreconditionFailed, "other-history")
		if header.Get("Freshet-Version") != fmt.Sprint(w.newest()) {
			t.Errorf("%s answers %v", i.URL, header)
		}
	}
}
