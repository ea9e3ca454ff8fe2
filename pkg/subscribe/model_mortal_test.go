package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
)

var errDead = errors.New("the publisher is dead")

// mortal is the store, the event log and the catalog as a publisher has them that dies at one of its calls. From then
// on none of its calls reaches anything, which is what others see of a process that was killed.
type mortal struct {
	store.Store
	log     *events.Log
	catalog *catalog.Catalog

	left   atomic.Int64 // calls to go
	writes bool         // only those count that change something
	done   bool         // the last call is carried out, and only its answer lost
	cancel func()       // if set, it is called instead of dying: the publisher is told to stop
}

// newMortal draws how the publisher ends.
func newMortal(r *rand.Rand, w *world, c *catalog.Catalog, cancel func()) *mortal {
	m := &mortal{Store: w.store, log: w.log, catalog: c, writes: r.IntN(3) > 0, done: r.IntN(2) == 0}
	m.left.Store(1 + r.Int64N(30))
	if m.writes {
		m.left.Store(1 + r.Int64N(4))
	}
	if r.IntN(4) == 0 {
		m.cancel = cancel
	}
	return m
}

func (m *mortal) String() string {
	switch left := m.left.Load(); {
	case m.cancel != nil:
		return fmt.Sprintf("told to stop (%d calls before, writes %v)", left, m.writes)
	default:
		return fmt.Sprintf("dies (%d calls before, writes %v, the last done %v)", left, m.writes, m.done)
	}
}

func (m *mortal) deps() publish.Deps {
	return publish.Deps{Store: m, Events: mortalLog{m}, Catalog: mortalCatalog{m}}
}

// call makes one call of the publisher's, or not. dying is called at the publisher's last.
func (m *mortal) call(write bool, do func() error, dying func()) error {
	left := m.left.Load()
	if write || !m.writes {
		left = m.left.Add(-1)
	}
	switch {
	case m.cancel != nil:
		if left == 0 {
			m.cancel()
		}
		return do()
	case left > 0:
		return do()
	case left < 0:
		return errDead
	case m.writes && !write: // it died before
		return errDead
	case m.done:
		_ = do()
	case dying != nil:
		dying()
	}
	return errDead
}

// cutting is a body that ends in the middle.
type cutting struct {
	io.Reader
	left int64
}

func (c *cutting) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errDead
	}
	n, err := c.Reader.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func (m *mortal) PutObject(ctx context.Context, d dataset.Digest, bytes int64, r io.Reader) error {
	return m.call(true, func() error { return m.Store.PutObject(ctx, d, bytes, r) }, func() {
		_ = m.Store.PutObject(ctx, d, bytes, &cutting{r, bytes / 2})
	})
}

func (m *mortal) RepairObject(ctx context.Context, d dataset.Digest, bytes int64, r io.Reader) (replaced bool, err error) {
	err = m.call(true, func() error { replaced, err = m.Store.RepairObject(ctx, d, bytes, r); return err }, func() {
		_, _ = m.Store.RepairObject(ctx, d, bytes, &cutting{r, bytes / 2})
	})
	return replaced, err
}

func (m *mortal) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	return m.call(true, func() error { return m.Store.PutVersion(ctx, rec) }, nil)
}

func (m *mortal) PutSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error {
	return m.call(true, func() error { return m.Store.PutSnapshot(ctx, rec) }, nil)
}

func (m *mortal) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (r io.ReadCloser, err error) {
	err = m.call(false, func() error { r, err = m.Store.OpenObject(ctx, d, offset, length); return err }, nil)
	if err != nil && r != nil {
		r.Close()
		r = nil
	}
	return r, err
}

func (m *mortal) StatObject(ctx context.Context, d dataset.Digest) (bytes int64, err error) {
	err = m.call(false, func() error { bytes, err = m.Store.StatObject(ctx, d); return err }, nil)
	return bytes, err
}

func (m *mortal) Version(ctx context.Context, name string, version uint64) (rec dataset.VersionRecord, err error) {
	err = m.call(false, func() error { rec, err = m.Store.Version(ctx, name, version); return err }, nil)
	return rec, err
}

func (m *mortal) Latest(ctx context.Context, name string) (rec dataset.VersionRecord, err error) {
	err = m.call(false, func() error { rec, err = m.Store.Latest(ctx, name); return err }, nil)
	return rec, err
}

func (m *mortal) Versions(ctx context.Context, name string, before uint64, limit int) (all []dataset.VersionRecord, err error) {
	err = m.call(false, func() error { all, err = m.Store.Versions(ctx, name, before, limit); return err }, nil)
	return all, err
}

func (m *mortal) RepairSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error {
	return m.call(true, func() error { return m.Store.RepairSnapshot(ctx, rec) }, nil)
}

func (m *mortal) NewestSnapshot(ctx context.Context, name string, after, upTo uint64) (rec dataset.SnapshotRecord, err error) {
	err = m.call(false, func() error { rec, err = m.Store.NewestSnapshot(ctx, name, after, upTo); return err }, nil)
	return rec, err
}

type mortalLog struct{ m *mortal }

func (l mortalLog) Announce(ctx context.Context, rec dataset.VersionRecord) error {
	return l.m.call(true, func() error { return l.m.log.Announce(ctx, rec) }, nil)
}

func (l mortalLog) Last(ctx context.Context, name string) (rec dataset.VersionRecord, err error) {
	err = l.m.call(false, func() error { rec, err = l.m.log.Last(ctx, name); return err }, nil)
	return rec, err
}

func (l mortalLog) Supersede(ctx context.Context, rec, over dataset.VersionRecord) error {
	return l.m.call(true, func() error { return l.m.log.Supersede(ctx, rec, over) }, nil)
}

func (l mortalLog) Latest(ctx context.Context, names []string) (all map[string]dataset.VersionRecord, err error) {
	err = l.m.call(false, func() error { all, err = l.m.log.Latest(ctx, names); return err }, nil)
	return all, err
}

func (l mortalLog) Ensure(ctx context.Context) error {
	return l.m.call(true, func() error { return l.m.log.Ensure(ctx) }, nil)
}

type mortalCatalog struct{ m *mortal }

func (c mortalCatalog) Replace(ctx context.Context, rec dataset.VersionRecord, over dataset.Ref) (moved bool, err error) {
	err = c.m.call(true, func() error { moved, err = c.m.catalog.Replace(ctx, rec, over); return err }, nil)
	return moved, err
}

func (c mortalCatalog) Newest(ctx context.Context, names []string) (newest map[string]dataset.Ref, err error) {
	err = c.m.call(false, func() error { newest, err = c.m.catalog.Newest(ctx, names); return err }, nil)
	return newest, err
}

func (c mortalCatalog) Advance(ctx context.Context, rec dataset.VersionRecord) (moved bool, err error) {
	err = c.m.call(true, func() error { moved, err = c.m.catalog.Advance(ctx, rec); return err }, nil)
	return moved, err
}

func (c mortalCatalog) Latest(ctx context.Context, name string) (rec dataset.VersionRecord, err error) {
	err = c.m.call(false, func() error { rec, err = c.m.catalog.Latest(ctx, name); return err }, nil)
	return rec, err
}
