package publish_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
)

// faulty is a store whose PutVersion and PutObject tests replace. Each is given the one below.
type faulty struct {
	store.Store
	putVersion func(ctx context.Context, rec dataset.VersionRecord) error
	putObject  func(ctx context.Context) error
}

func (f *faulty) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	if f.putVersion != nil {
		return f.putVersion(ctx, rec)
	}
	return f.Store.PutVersion(ctx, rec)
}

func (f *faulty) PutObject(ctx context.Context, d dataset.Digest, bytes int64, r io.Reader) error {
	if f.putObject != nil {
		if err := f.putObject(ctx); err != nil {
			return err
		}
	}
	return f.Store.PutObject(ctx, d, bytes, r)
}

func newFaulty(t *testing.T) (*rig, *faulty) {
	f := &faulty{}
	r := newRig(t, func(_ *publish.Config, d *publish.Deps) {
		f.Store = d.Store
		d.Store = f
	})
	return r, f
}

// input returns lines as an input with the key in member id.
func input(lines ...string) publish.Input {
	return publish.Input{Body: strings.NewReader(strings.Join(lines, "\n")), Key: "id"}
}

// Two publishers find a dataset without versions, and draw a seed each. The one that comes second sorts its records by
// the seed of the first.
func TestFirstVersionIsContested(t *testing.T) {
	r, f := newFaulty(t)
	other, err := publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store})
	if err != nil {
		t.Fatal(err)
	}
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		f.putVersion = nil
		if _, err := other.Publish(ctx, "prices", input(`{"id":"a"}`, `{"id":"b"}`)); err != nil {
			t.Error(err)
		}
		return f.Store.PutVersion(ctx, rec)
	}
	result, err := r.Publish(t.Context(), "prices", input(`{"id":"b","v":1}`, `{"id":"c"}`, `{"id":"d"}`))
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.store.Version(t.Context(), "prices", 1)
	if err != nil {
		t.Fatal(err)
	}
	rec := result.Record
	if !result.Created || rec.Version != 2 || rec.Seed != first.Seed || rec.Changes != (dataset.Changes{Added: 2, Changed: 1, Removed: 1}) {
		t.Errorf("result is %+v", result)
	}
	if diff := cmp.Diff(map[string]string{"b": `{"id":"b","v":1}`, "c": `{"id":"c"}`, "d": `{"id":"d"}`}, content(t, r.store, rec)); diff != "" {
		t.Error(diff)
	}
	noTemp(t, r.temp)

	// The same content, sorted by another seed while it was contested, is recognised as equal.
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		f.putVersion = nil
		if _, err := other.Publish(ctx, "rules", input(`{"id":"a"}`)); err != nil {
			t.Error(err)
		}
		return f.Store.PutVersion(ctx, rec)
	}
	result, err = r.Publish(t.Context(), "rules", input(`{"id":"a"}`))
	if err != nil || result.Created || result.Record.Version != 1 {
		t.Errorf("result is %+v: %v", result, err)
	}
}

// A publisher that loses every race returns ErrConflict, and has published nothing.
func TestConflict(t *testing.T) {
	r, f := newFaulty(t)
	r.text(t, "prices", `{"id":"a"}`)
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		theirs := rec
		theirs.Source = "other"
		theirs.State.Lo++ // other content
		if err := f.Store.PutVersion(ctx, theirs); err != nil {
			t.Error(err)
		}
		return f.Store.PutVersion(ctx, rec)
	}
	_, err := r.Publish(t.Context(), "prices", input(`{"id":"b"}`))
	if !errors.Is(err, publish.ErrConflict) || errors.Is(err, publish.ErrInput) || !strings.Contains(err.Error(), `dataset "prices"`) {
		t.Errorf("error is %v", err)
	}
	versions, err := r.store.Versions(t.Context(), "prices", 0, 0)
	if err != nil || len(versions) < 10 {
		t.Fatalf("%d versions: %v", len(versions), err)
	}
	for _, v := range versions[:len(versions)-1] {
		if v.Source != "other" {
			t.Errorf("version %d is ours", v.Version)
		}
	}
	noTemp(t, r.temp)
}

// The store decides whether a version is committed, not the answer of PutVersion.
func TestAnswerToTheCommitIsLost(t *testing.T) {
	lost := errors.New("connection reset")
	for name, c := range map[string]struct {
		putVersion func(f *faulty) func(ctx context.Context, rec dataset.VersionRecord) error
		err        error
		version    uint64
	}{
		"committed": {func(f *faulty) func(context.Context, dataset.VersionRecord) error {
			return func(ctx context.Context, rec dataset.VersionRecord) error {
				return errors.Join(f.Store.PutVersion(ctx, rec), lost)
			}
		}, nil, 1},
		"sent twice": {func(f *faulty) func(context.Context, dataset.VersionRecord) error {
			return func(ctx context.Context, rec dataset.VersionRecord) error {
				if err := f.Store.PutVersion(ctx, rec); err != nil {
					return err
				}
				return f.Store.PutVersion(ctx, rec) // ErrExists, by its own hand
			}
		}, nil, 1},
		"not committed": {func(*faulty) func(context.Context, dataset.VersionRecord) error {
			return func(context.Context, dataset.VersionRecord) error { return lost }
		}, lost, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, f := newFaulty(t)
			f.putVersion = c.putVersion(f)
			result, err := r.Publish(t.Context(), "prices", input(`{"id":"a"}`))
			if !errors.Is(err, c.err) || result.Record.Version != c.version || result.Created != (c.version > 0) {
				t.Errorf("result is %+v: %v", result, err)
			}
			latest, err := r.store.Latest(t.Context(), "prices")
			if latest.Version != c.version || err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the newest version is %d: %v", latest.Version, err)
			}
			noTemp(t, r.temp)
		})
	}
}

// A context that ends during the commit does not change its outcome.
func TestContextEndsInTheCommit(t *testing.T) {
	r, f := newFaulty(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		err := f.Store.PutVersion(ctx, rec)
		cancel()
		return errors.Join(err, ctx.Err())
	}
	result, err := r.Publish(ctx, "prices", input(`{"id":"a"}`))
	if err != nil || !result.Created {
		t.Errorf("result is %+v: %v", result, err)
	}
}

func TestStoreFails(t *testing.T) {
	r, f := newFaulty(t)
	full := errors.New("no space left")
	f.putObject = func(context.Context) error { return full }
	_, err := r.Publish(t.Context(), "prices", input(`{"id":"a"}`))
	if !errors.Is(err, full) || errors.Is(err, publish.ErrInput) || !strings.Contains(err.Error(), `version 1 of dataset "prices"`) {
		t.Errorf("error is %v", err)
	}
	if _, err := r.store.Latest(t.Context(), "prices"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error is %v", err)
	}
	noTemp(t, r.temp)
}

// The next version heals a dataset whose newest version has a lost or damaged object.
func TestVersionBeforeIsLost(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"lost":    os.Remove,
		"damaged": flipBit,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			first := r.text(t, "prices", `{"id":"a"}`).Record
			if err := harm(r.objectPath(first.Snapshot)); err != nil {
				t.Fatal(err)
			}
			result := r.text(t, "prices", `{"id":"b"}`)
			if !result.Created || result.Record.Version != 2 || result.Record.Changes != (dataset.Changes{}) ||
				len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "the changes from version prices/1 are not counted and there is no delta from it") {
				t.Errorf("result is %+v", result)
			}
			if diff := cmp.Diff(map[string]string{"b": `{"id":"b"}`}, content(t, r.store, result.Record)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
