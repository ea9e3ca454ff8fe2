package publish_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
)

// calling is a body that calls do before its last bytes.
type calling struct {
	io.Reader
	do func()
}

func (m *calling) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if err == io.EOF && m.do != nil {
		m.do()
		m.do = nil
	}
	return n, err
}

// Another publisher removes a record while a patch with the record is read: the newest version at the end of the patch decides what the
// patch changes, and whether its base is the newest version.
func TestPatchIsComparedWithTheNewestAtItsEnd(t *testing.T) {
	for _, base := range []uint64{0, 1} {
		r := newRig(t, nil)
		r.text(t, "prices", "{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":1}")
		body := &calling{Reader: strings.NewReader(`{"id":"a","n":1}`), do: func() {
			if _, err := r.Publish(t.Context(), "prices", publish.Input{Body: strings.NewReader(`{"id":"b","n":1}`), Key: "id"}); err != nil {
				t.Error(err)
			}
		}}
		result, err := r.Patch(t.Context(), "prices", publish.PatchInput{Base: base, Input: publish.Input{Body: body, Key: "id"}})
		switch {
		case base > 0 && !errors.Is(err, publish.ErrConflict):
			t.Errorf("for version %d: %+v, %v; want ErrConflict", base, result, err)
		case base == 0 && (err != nil || !result.Created || result.Record.Version != 3 || result.Changes.Added != 1):
			t.Errorf("for any version: %+v, %v; want version 3 with a record added", result, err)
		}
		noTemp(t, r.temp)
	}
}

// tidied is a store that empties the folder for temporary files right before each commit.
type tidied struct {
	store.Store
	temp string
}

func (s *tidied) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	names, err := filepath.Glob(filepath.Join(s.temp, "*"))
	for _, name := range names {
		err = errors.Join(err, os.RemoveAll(name))
	}
	if err != nil {
		return err
	}
	return s.Store.PutVersion(ctx, rec)
}

// A committed version is reported as such, even if its temporary files are gone.
func TestCommittedIsReportedWithoutTemporaryFiles(t *testing.T) {
	large := publish.Input{Key: "id", Body: io.MultiReader(
		strings.NewReader(`{"id":"large","v":"`), strings.NewReader(strings.Repeat("x", 1<<19)), strings.NewReader(`"}`),
	)}
	r := newRig(t, func(cfg *publish.Config, deps *publish.Deps) { deps.Store = &tidied{deps.Store, cfg.TempDir} })
	if result := r.text(t, "prices", `{"id":"a"}`); !result.Created {
		t.Errorf("published: %+v", result)
	}
	result, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: large})
	if err != nil || !result.Created {
		t.Errorf("patched: %+v, %v", result, err)
	}
	noTemp(t, r.temp)
}
