package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
)

var errCut = errors.New("connection reset")

// cutting is a store that fails once, at call number at: before the call does anything or, if after is set, when it has
// done all of it and the answer is lost. An object that is cut after its opening breaks off half-way.
type cutting struct {
	store.Store
	at    int64
	calls atomic.Int64
	after bool
}

// cut does a call, or not.
func (c *cutting) cut(do func() error) error {
	if c.calls.Add(1) != c.at {
		return do()
	}
	if c.after {
		_ = do() // nobody gets to know
	}
	return errCut
}

func (c *cutting) PutObject(ctx context.Context, d dataset.Digest, bytes int64, r io.Reader) error {
	return c.cut(func() error { return c.Store.PutObject(ctx, d, bytes, r) })
}

func (c *cutting) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (r io.ReadCloser, err error) {
	if c.calls.Add(1) != c.at {
		return c.Store.OpenObject(ctx, d, offset, length)
	}
	if !c.after {
		return nil, errCut
	}
	r, err = c.Store.OpenObject(ctx, d, offset, length)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, 100), iotest.ErrReader(errCut)), r}, nil
}

func (c *cutting) StatObject(ctx context.Context, d dataset.Digest) (bytes int64, err error) {
	err = c.cut(func() error { bytes, err = c.Store.StatObject(ctx, d); return err })
	return bytes, err
}

func (c *cutting) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	return c.cut(func() error { return c.Store.PutVersion(ctx, rec) })
}

func (c *cutting) Latest(ctx context.Context, name string) (rec dataset.VersionRecord, err error) {
	err = c.cut(func() error { rec, err = c.Store.Latest(ctx, name); return err })
	return rec, err
}

func (c *cutting) Version(ctx context.Context, name string, version uint64) (rec dataset.VersionRecord, err error) {
	err = c.cut(func() error { rec, err = c.Store.Version(ctx, name, version); return err })
	return rec, err
}

func (c *cutting) PutSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error {
	return c.cut(func() error { return c.Store.PutSnapshot(ctx, rec) })
}

func (c *cutting) RepairSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error {
	return c.cut(func() error { return c.Store.RepairSnapshot(ctx, rec) })
}

func (c *cutting) NewestSnapshot(ctx context.Context, name string, after, upTo uint64) (rec dataset.SnapshotRecord, err error) {
	err = c.cut(func() error { rec, err = c.Store.NewestSnapshot(ctx, name, after, upTo); return err })
	return rec, err
}

// At whichever step of a publish, a patch or a compaction the store fails: either the call fails, and the dataset is as it
// was, or it succeeds, and the dataset is as it should be. Nothing is left in the temporary folder, and the same call
// works afterwards.
func TestStoreFailsAtEachStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		for _, op := range []string{"publish", "patch", "compact"} {
			t.Run(fmt.Sprintf("%s, after is %t", op, after), func(t *testing.T) {
				c := &cutting{after: after}
				r := newRig(t, func(cfg *publish.Config, d *publish.Deps) {
					cfg.MaxDeltas = 3
					c.Store = d.Store
					d.Store = c
				})
				m := numbered(300)
				rec := patched(t, r, m, 4)
				for step := 1; ; step++ {
					was := maps.Clone(m)
					if op != "compact" {
						m.set(step, -step-1000)
					}
					c.calls.Store(0)
					c.at = int64(step)
					// Another Publisher each time, which remembers nothing.
					err := do(t, must(publish.Open(publish.Config{TempDir: r.temp, MaxDeltas: 3}, publish.Deps{Store: c})), op, m, step)
					reached := c.calls.Load() >= c.at
					c.at = 0
					switch {
					case err != nil && !reached:
						t.Fatal(err)
					case err != nil && !errors.Is(err, errCut):
						t.Errorf("step %d: error is %v", step, err)
					case err != nil:
						m = was
					case op != "compact": // so that there are not more steps each time
						must(r.Compact(t.Context(), "prices"))
					}
					noTemp(t, r.temp)
					latest, err := r.store.Latest(t.Context(), "prices")
					if err != nil || latest.Version < rec.Version {
						t.Fatalf("step %d: the newest is %d: %v", step, latest.Version, err)
					}
					rec = latest
					if diff := cmp.Diff(map[string]string(m), content(t, r.store, rec)); diff != "" {
						t.Fatalf("step %d: %s", step, diff)
					}
					if !reached {
						if step < 4 {
							t.Errorf("it took %d steps", step-1)
						}
						break
					}
				}
				// Whatever was left half done: a patch finds the newest snapshot, and it is whole.
				m.set(0, -9999)
				got, err := r.Patch(t.Context(), "prices", patch(m["0"]))
				if err != nil || op == "compact" && got.Record.Snapshot.Version != rec.Version {
					t.Errorf("%+v: %v", got, err)
				}
				if diff := cmp.Diff(map[string]string(m), content(t, r.store, got.Record)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func do(t *testing.T, p *publish.Publisher, op string, m table, changed int) error {
	var err error
	switch op {
	case "publish":
		_, err = p.Publish(t.Context(), "prices", m.input())
	case "patch":
		_, err = p.Patch(t.Context(), "prices", patch(m[fmt.Sprint(changed)]))
	default:
		_, err = p.Compact(t.Context(), "prices")
	}
	return err
}
