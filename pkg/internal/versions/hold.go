package versions

import (
	"context"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/hold"
)

const (
	// freshFor is how long an object that this process wrote needs no hold. A garbage collection removes no object that is younger than
	// twice its grace.
	freshFor = time.Second
	// maxFresh bounds the objects that are remembered as fresh.
	maxFresh = 1024
)

// fresh has the objects that this process wrote a moment ago. The zero fresh is ready for use.
type fresh struct {
	mu sync.Mutex
	at map[dataset.Digest]time.Time // guarded by mu
}

func (f *fresh) add(d dataset.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil || len(f.at) >= maxFresh {
		f.at = map[dataset.Digest]time.Time{} // an object that is forgotten is held
	}
	f.at[d] = time.Now()
}

func (f *fresh) has(d dataset.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.at[d]
	return ok && time.Since(at) < freshFor
}

// Hold keeps objects from garbage collections until the result is dropped: those that base does not name, and that this process did not
// write a moment ago. While base is the newest version, its objects need no hold. If none is left, the result is nil, which may be dropped.
// The error of an object that the store lacks is one for which IsLost holds.
func (o *Objects) Hold(ctx context.Context, base dataset.VersionRecord, objects []dataset.Object) (*hold.Note, error) {
	skip := map[dataset.Digest]bool{base.Snapshot.Digest: true}
	for _, d := range base.Deltas {
		skip[d.Digest] = true
	}
	var old []dataset.Object
	for _, object := range objects {
		if !skip[object.Digest] && !o.fresh.has(object.Digest) {
			skip[object.Digest] = true
			old = append(old, object)
		}
	}
	if len(old) == 0 {
		return nil, nil
	}
	return hold.Take(ctx, o.store, old)
}
