package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/publisher"
)

const patchURL = "/v1/datasets/prices"

func TestPatch(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id", `{"id":"a"}`), 404, "unknown-dataset")
	if rec := send(h, "POST", versions+"?key=id", `{"id":"a"}`+"\n"+`{"id":"b"}`); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	rec := send(h, "PATCH", patchURL+"?key=id&base=1&label=run=7", `{"id":"a","v":1}
{"id":"b","$remove":true}
{"id":"c"}
{"id":"x","$remove":true}`)
	got := decode[publisher.Publication](t, rec)
	if rec.Code != 201 || rec.Header().Get("Location") != versions+"/2" || got.Patch == nil || *got.Patch != (publisher.Patch{Added: 1, Changed: 1, Removed: 1, Missing: 1}) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if token, err := dataset.ParseToken(got.Token.String()); err != nil || token != got.Record.Token() {
		t.Errorf("the token is %s: %v", got.Token, err)
	}
	if got.Record.Labels["run"] != "7" || got.Record.State.Records != 2 {
		t.Errorf("%+v", got.Record)
	}
	rec = send(h, "PATCH", patchURL+"?key=id&remove=gone", "id,gone\nzz,1\n", "Content-Type", "text/csv")
	got = decode[publisher.Publication](t, rec)
	if rec.Code != 200 || got.Created || *got.Patch != (publisher.Patch{Missing: 1}) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id&base=1", `{"id":"a"}`), 409, "conflict")
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id&base=0", `{"id":"a"}`), 400, "bad-parameter")
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id&base=x", `{"id":"a"}`), 400, "bad-parameter")
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id&base=2@", `{"id":"a"}`), 400, "bad-parameter")
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id&base=2@0123", `{"id":"a"}`), 400, "bad-parameter")
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id&base=2@0123456789ab", `{"id":"a"}`), 409, "conflict")
	for _, id := range []string{got.Record.VersionID().String(), got.Record.VersionID().Short()} {
		if rec := send(h, "PATCH", patchURL+"?key=id&base=2@"+id, `{"id":"a","v":1}`); rec.Code != 200 {
			t.Errorf("for version 2 with the id %s: %d %s", id, rec.Code, rec.Body)
		}
	}
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id&wait=1", `{"id":"a"}`), 400, "bad-parameter")
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id&remove=id", `{"id":"a"}`), 400, "bad-input")
	wantProblem(t, send(h, "PATCH", patchURL+"?key=id", `{"id":"a","$remove":1}`), 400, "bad-input")
}

// The snapshot that patches make due is written in the background, while the publisher runs.
func TestPatchesAreCompacted(t *testing.T) {
	s := openStore(t)
	p := newPublisher(t, s, func(c *publisher.Config, _ *publisher.Deps) { c.MaxDeltas = 3 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	h := p.Handler()
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, `{"id":"%d","v":"%x"}`+"\n", i, int64(i)*2654435761)
	}
	if rec := send(h, "POST", versions+"?key=id", lines.String()); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for i := range 4 {
		if rec := send(h, "PATCH", patchURL+"?key=id", fmt.Sprintf(`{"id":"%d"}`, i)); rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if got, err := s.NewestSnapshot(t.Context(), "prices", 1, 5); err == nil && got.Object.Version == 5 {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("no snapshot was written")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A patch on a damaged snapshot is refused with the object's file and the remedy, and the remedy works.
func TestPatchOfADamagedVersion(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	const text = `{"id":"a"}` + "\n" + `{"id":"b"}`
	rec := send(h, "POST", versions+"?key=id", text)
	place := s.ObjectPlace(decode[publisher.Publication](t, rec).Record.Snapshot.Digest)
	b, err := os.ReadFile(place)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := errors.Join(os.Chmod(place, 0o600), os.WriteFile(place, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	rec = send(h, "PATCH", patchURL+"?key=id", `{"id":"c"}`)
	wantProblem(t, rec, 500, "lost-object")
	for _, part := range []string{place, "publish all of the dataset's records to heal it"} {
		if !strings.Contains(rec.Body.String(), part) {
			t.Errorf("the problem does not say %q: %s", part, rec.Body)
		}
	}
	rec = send(h, "POST", versions+"?key=id", text)
	got := decode[publisher.Publication](t, rec)
	if rec.Code != 200 || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], place) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec = send(h, "PATCH", patchURL+"?key=id", `{"id":"c"}`); rec.Code != 201 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
