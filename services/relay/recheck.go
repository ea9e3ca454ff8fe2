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
	// recheckPause is the pause between two rechecks of an object: every instance that received wrong bytes requests one, and
	// the first serves them all. It also bounds what a client can make a relay read.
	recheckPause = 10 * time.Second
	// damagedPause is the least pause for an object that is damaged in the store, so that it is served soon after a publish
	// has healed it. The pause is damagedPauses times the duration of the recheck, if that is more, and at most recheckPause.
	damagedPause  = time.Second
	damagedPauses = 5
	// recheckWait bounds a recheck: instances wait 15 s for an answer. An object that takes longer to read is not checked.
	recheckWait = 10 * time.Second
	// recheckSlots is how many objects are checked at the same time. Other requests wait.
	recheckSlots = 2
	// maxRechecks bounds how many objects are remembered, and so how many are checked within recheckPause.
	maxRechecks = 1024
)

// rechecks are the objects that were checked lately.
type rechecks struct {
	slots chan struct{} // a semaphore: one for each recheck in progress

	mu     sync.Mutex
	recent map[dataset.Digest]recheck // guarded by mu
}

// recheck is the outcome of the last check of an object.
type recheck struct {
	until   time.Time // no other check before
	damaged error     // how the object is damaged in the store; nil if it is not, or if that is unknown
}

func newRechecks() *rechecks {
	return &rechecks{slots: make(chan struct{}, recheckSlots), recent: make(map[dataset.Digest]recheck)}
}

// begin reports whether the object is due for a recheck, which the caller then does. If it is not, damaged is the outcome of
// the last one.
func (r *rechecks) begin(digest dataset.Digest) (due bool, damaged error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if last, ok := r.recent[digest]; ok && now.Before(last.until) {
		return false, last.damaged
	}
	for d, last := range r.recent {
		if !now.Before(last.until) {
			delete(r.recent, d)
		}
	}
	if len(r.recent) >= maxRechecks {
		return false, nil
	}
	r.recent[digest] = recheck{until: now.Add(recheckPause)}
	return true, nil
}

// damaged records that the object is damaged in the store, after a check that took so long.
func (r *rechecks) damaged(digest dataset.Digest, err error, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := max(damagedPause, min(damagedPauses*took, recheckPause))
	r.recent[digest] = recheck{until: time.Now().Add(pause), damaged: err}
}

// bypassesCache reports whether the request has the directive no-cache (RFC 9111, section 5.2.1.4). Instances send it after
// wrong bytes from this relay, which may have been damaged on the way here.
func bypassesCache(req *http.Request) bool {
	for _, directive := range strings.Split(req.Header.Get("Cache-Control"), ",") {
		if strings.EqualFold(strings.TrimSpace(directive), "no-cache") {
			return true
		}
	}
	return false
}

// recheck removes the object from the cache and from those of the relays upstream, if a recheck is due, and checks it in the
// store. damaged is how it is damaged there; the client then does not distrust this relay.
func (r *Relay) recheck(ctx context.Context, digest dataset.Digest, size int64) (damaged error) {
	due, damaged := r.rechecks.begin(digest)
	if !due {
		return damaged
	}
	// A second time after the relays upstream: a request may have read the object from them before they removed it.
	r.cache.Forget(digest, size)
	defer r.cache.Forget(digest, size)
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, recheckWait)
	defer cancel()
	select {
	case r.rechecks.slots <- struct{}{}:
		defer func() { <-r.rechecks.slots }()
	case <-ctx.Done():
		return nil
	}
	err := r.deps.Store.Recheck(ctx, digest)
	switch {
	case errors.Is(err, store.ErrDamaged):
		r.rechecks.damaged(digest, err, time.Since(began))
		r.deps.Log.Error("an object is damaged in the store; a publish of all records of its dataset heals it", "object", digest, "error", err.Error())
		return err
	case err != nil:
		r.deps.Log.Warn("a client received wrong bytes of an object, which is read again; the check for damage in the store failed",
			"object", digest, "error", err.Error())
	default:
		r.deps.Log.Warn("a client received wrong bytes of an object, which is read again; it is not damaged in the store", "object", digest)
	}
	return nil
}
