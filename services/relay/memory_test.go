package relay_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// memory is a store in memory that fails as its fields say.
type memory struct {
	mu       sync.Mutex
	objects  map[dataset.Digest][]byte
	latest   map[string]dataset.VersionRecord
	id       dataset.StoreID
	err      error           // of every call
	short    map[int64]bool  // segments, by offset, of which OpenObject returns all but one byte, and then nothing
	gate     <-chan struct{} // OpenObject waits for it
	opens    atomic.Int64
	rechecks atomic.Int64
	opened   chan struct{} // closed by the first OpenObject
}

func newMemory() *memory {
	return &memory{id: testStore, objects: map[dataset.Digest][]byte{}, latest: map[string]dataset.VersionRecord{}, short: map[int64]bool{}, opened: make(chan struct{})}
}

func (m *memory) add(n int) (dataset.Digest, []byte) {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	d := dataset.Digest(sha256.Sum256(b))
	m.objects[d] = b
	return d, b
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// testStore is the id of stores in memory.
var testStore = dataset.StoreID{1}

func (m *memory) Pins(_ context.Context, name string) (dataset.Pins, error) {
	return dataset.Pins{Dataset: name, Pins: []dataset.Pin{}}, nil
}

func (m *memory) Record(_ context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rec := m.latest[name]; rec.Version == version || m.err != nil {
		return rec, m.err
	}
	return dataset.VersionRecord{}, store.ErrNotFound
}

func (m *memory) ID(context.Context) (dataset.StoreID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id, m.err
}

func (m *memory) StatObject(_ context.Context, d dataset.Digest) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[d]
	if !ok && m.err == nil {
		return 0, store.ErrNotFound
	}
	return int64(len(b)), m.err
}

func (m *memory) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	if m.opens.Add(1) == 1 {
		close(m.opened)
	}
	if m.gate != nil {
		select {
		case <-m.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := range m.short {
		if offset <= at && at < offset+length {
			length = min(length, at-offset+256<<10) - 1
		}
	}
	return io.NopCloser(bytes.NewReader(m.objects[d][offset : offset+length])), m.err
}

func (m *memory) Newest(_ context.Context, name string) (dataset.VersionRecord, dataset.StoreID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, ok := m.latest[name]
	switch {
	case m.err != nil:
		return rec, dataset.StoreID{}, m.err
	case !ok:
		return rec, m.id, store.ErrNotFound
	}
	return rec, m.id, nil
}

func (m *memory) Recheck(_ context.Context, d dataset.Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rechecks.Add(1)
	if sha256.Sum256(m.objects[d]) != d {
		return fmt.Errorf("object %s: %w at memory/%s", d, store.ErrDamaged, d)
	}
	return m.err
}

func record(name string, version uint64) dataset.VersionRecord {
	return dataset.VersionRecord{
		Dataset: name, Version: version, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Snapshot: dataset.Object{Version: version, Digest: dataset.Digest{1}, Bytes: 7},
	}
}

// panicking is a store whose first OpenObject panics.
type panicking struct {
	*memory
	done atomic.Bool
}

func (p *panicking) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	if !p.done.Swap(true) {
		panic("boom")
	}
	return p.memory.OpenObject(ctx, d, offset, length)
}
