package publish_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
)

// The id of a request with the same records and other labels, source or promise is reused.
func TestRequestWithTheSameRecordsAndOtherSettingsIsRefused(t *testing.T) {
	r := newRig(t, nil)
	r.text(t, "prices", `{"id":"a"}`)
	patch := patchFor(dataset.Ref{}, "req-1", `{"id":"b"}`)
	day := 24 * time.Hour
	patch.Labels, patch.Source, patch.ExpectEvery = map[string]string{"run": "1"}, "job", &day
	if _, err := r.Patch(t.Context(), "prices", patch); err != nil {
		t.Fatal(err)
	}
	hour := time.Hour
	for text, change := range map[string]func(*publish.Input){
		"other labels":    func(in *publish.Input) { in.Labels = map[string]string{"run": "2"} },
		"another source":  func(in *publish.Input) { in.Source = "cron" },
		"another promise": func(in *publish.Input) { in.ExpectEvery = &hour },
		"":                func(*publish.Input) {},
	} {
		in := patch
		in.Body = strings.NewReader(`{"id":"b"}`)
		change(&in.Input)
		_, err := r.Patch(t.Context(), "prices", in)
		whole := in.Input
		whole.Body = strings.NewReader("{\"id\":\"a\"}\n{\"id\":\"b\"}")
		_, errOfAll := r.Publish(t.Context(), "prices", whole)
		for _, err := range []error{err, errOfAll} {
			if text == "" && err != nil || text != "" && (!errors.Is(err, publish.ErrRequestID) || !strings.Contains(err.Error(), text)) {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
	if got := r.versions(t, "prices"); got != 2 {
		t.Errorf("there are %d versions", got)
	}
}

// A repeated patch succeeds although the version that it made has lost its objects.
func TestRepeatedPatchOfAVersionWithoutObjects(t *testing.T) {
	r := newRig(t, nil)
	r.text(t, "prices", `{"id":"a"}`)
	made, err := r.Patch(t.Context(), "prices", patchFor(dataset.Ref{}, "req-1", `{"id":"b"}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(strings.TrimPrefix(r.url, "dir://"), "objects")); err != nil {
		t.Fatal(err)
	}
	fresh, err := publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store})
	if err != nil {
		t.Fatal(err)
	}
	got, err := fresh.Patch(t.Context(), "prices", patchFor(dataset.Ref{}, "req-1", `{"id":"b"}`))
	if err != nil || !got.Repeated || got.Record.Ref() != made.Record.Ref() || got.Changes != made.Changes {
		t.Errorf("%+v: %v", got, err)
	}
}

// A commit that never reached the store is refused, although the store does not say what it has.
func TestCommitThatWasNotSentIsNotUnknown(t *testing.T) {
	r, m := newMute(t)
	f := &faulty{Store: m.Store}
	m.Store = f
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	f.putVersion = func(context.Context, dataset.VersionRecord) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.silent = true // the next Version fails
		return dial
	}
	if _, err := r.Publish(t.Context(), "prices", input(`{"id":"a"}`)); !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, publish.ErrUnknown) {
		t.Errorf("%v", err)
	}
	f.putVersion = func(context.Context, dataset.VersionRecord) error {
		return fmt.Errorf("%w: %w", store.ErrUnknown, context.Canceled)
	}
	if _, err := r.Publish(t.Context(), "prices", input(`{"id":"a"}`)); !errors.Is(err, publish.ErrUnknown) {
		t.Errorf("%v", err)
	}
}
