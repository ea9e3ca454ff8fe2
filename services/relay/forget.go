package relay

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

const (
	// forgetPause is how long after an object was forgotten it is not again: every instance that got the wrong bytes asks
	// for that, and what was read anew for the first serves them all. It also bounds what a client can make a relay read.
	forgetPause = 10 * time.Second
	// damagedPause is the least forgetPause for an object that is damaged in the store, so that it is served soon after a publish
	// has healed it. It is damagedPauses times what it took to read the object, if that is more.
	damagedPause  = time.Second
	damagedPauses = 5
	// forgetWait bounds how long a forgotten object is read from the store, or the relays upstream may take for that.
	// Instances wait 15 s for an answer. A larger object is not checked.
	forgetWait = 10 * time.Second
	// maxRechecks is how many objects are read for that at the same time. Others wait.
	maxRechecks = 2
	// maxForgotten bounds how many objects can be forgotten within forgetPause.
	maxForgotten = 1024
)

// forgotten is when objects were forgotten.
type forgotten struct {
	rechecks chan struct{} // one for each in progress

	mu sync.Mutex
	at map[dataset.Digest]recheck // guarded by mu
}

// recheck is the outcome of the last check of an object.
type recheck struct {
	at      time.Time
	damaged error // how it is damaged in the store; nil if it is not, or is not known to be
	pause   time.Duration
}

func newForgotten() *forgotten {
	return &forgotten{rechecks: make(chan struct{}, maxRechecks), at: make(map[dataset.Digest]recheck)}
}

func (r recheck) over(now time.Time) bool { return now.Sub(r.at) >= r.pause }

// turn reports whether the object may be forgotten now, and takes note that it is. If not, damaged says how it was found to be
// damaged a moment ago.
func (f *forgotten) turn(digest dataset.Digest, now time.Time) (ok bool, damaged error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.at[digest]; ok && !last.over(now) {
		return false, last.damaged
	}
	for d, last := range f.at {
		if last.over(now) {
			delete(f.at, d)
		}
	}
	if len(f.at) >= maxForgotten {
		return false, nil
	}
	f.at[digest] = recheck{at: now, pause: forgetPause}
	return true, nil
}

// found takes note that the object is damaged in the store, which it took so long to find.
func (f *forgotten) found(digest dataset.Digest, damaged error, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at[digest] = recheck{time.Now(), damaged, max(damagedPause, min(damagedPauses*took, forgetPause))}
}

// wantsAnew reports whether the client asks for bytes that are not from a cache (RFC 9111, section 5.2.1.4). Instances do
// when what this relay gave them before was not the object: it may have been damaged on the way here.
func wantsAnew(req *http.Request) bool {
	for _, directive := range strings.Split(req.Header.Get("Cache-Control"), ",") {
		if strings.EqualFold(strings.TrimSpace(directive), "no-cache") {
			return true
		}
	}
	return false
}

// forget lets go of what is kept of the object, here and in the relays upstream, if it is time, and returns how the object is
// damaged in the store, so that a client does not take this relay for the culprit.
func (r *Relay) forget(ctx context.Context, digest dataset.Digest, size int64) (damaged error) {
	ok, damaged := r.forgotten.turn(digest, time.Now())
	if !ok {
		return damaged
	}
	// Again after the relays upstream did the same, from where it is read again.
	r.cache.Forget(digest, size)
	defer r.cache.Forget(digest, size)
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, forgetWait)
	defer cancel()
	select {
	case r.forgotten.rechecks <- struct{}{}:
		defer func() { <-r.forgotten.rechecks }()
	case <-ctx.Done():
		return nil
	}
	err := r.deps.Store.Recheck(ctx, digest)
	switch {
	case errors.Is(err, store.ErrDamaged):
		r.forgotten.found(digest, err, time.Since(began))
		r.deps.Log.Error("an object is damaged in the store; a publish of all records of its dataset heals it", "object", digest, "error", err.Error())
		return err
	case err != nil:
		r.deps.Log.Warn("a client got wrong bytes of an object, which is read again; whether it is damaged in the store could not be found out",
			"object", digest, "error", err.Error())
	default:
		r.deps.Log.Warn("a client got wrong bytes of an object, which is read again; it is not damaged in the store", "object", digest)
	}
	return nil
}
