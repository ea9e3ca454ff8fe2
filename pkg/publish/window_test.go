package publish_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/publish"
)

// during is a body that calls do before its first byte.
type during struct {
	io.Reader
	do func()
}

func (d *during) Read(p []byte) (int, error) {
	if d.do != nil {
		d.do()
		d.do = nil
	}
	return d.Reader.Read(p)
}

// A request is found after many versions of others, after one with a wrong clock, and when those come while it reads its body.
func TestRepeatedRequestIsFoundOnABusyDataset(t *testing.T) {
	r := newRig(t, nil)
	others := func(versions int) {
		for range versions {
			r.text(t, "prices", fmt.Sprintf(`{"id":"a","v":%d}`, r.versions(t, "prices")))
		}
	}
	const lines = `{"id":"mine"}`
	made, err := r.Publish(t.Context(), "prices", asked(input(lines), "req-1"))
	if err != nil {
		t.Fatal(err)
	}
	others(40)
	old := must(r.store.Version(t.Context(), "prices", 30))
	old.Created = old.Created.Add(-5 * time.Hour)
	r.overwriteRecord(t, "prices", 30, must(old.Encode()))
	body := &during{Reader: strings.NewReader(lines), do: func() {
		if got, err := r.Publish(t.Context(), "prices", input(`{"id":"late"}`)); err != nil || !got.Created {
			t.Errorf("%+v: %v", got, err)
		}
	}}
	got, err := r.Publish(t.Context(), "prices", publish.Input{Body: body, Key: "id", RequestID: "req-1"})
	if err != nil || !got.Repeated || got.Record.Ref() != made.Record.Ref() {
		t.Errorf("%+v: %v", got, err)
	}
	if got, err := r.Patch(t.Context(), "prices", patchFor(made.Record.Ref(), "req-2", `{"id":"x"}`)); err == nil {
		t.Errorf("a request that is none: %+v", got)
	}
}
