package relay

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
)

const (
	// forgetPause is how long after an object was forgotten it is not again: every instance that got the wrong bytes asks
	// for that, and what was read anew for the first serves them all. It also bounds what a client can make a relay read.
	forgetPause = 10 * time.Second
	// forgetWait bounds how long the relays upstream may take to forget too.
	forgetWait = 3 * time.Second
	// maxForgotten bounds how many objects can be forgotten within forgetPause.
	maxForgotten = 1024
)

// forgotten is when objects were forgotten.
type forgotten struct {
	mu sync.Mutex
	at map[dataset.Digest]time.Time // guarded by mu
}

// turn reports whether the object may be forgotten now, and takes note that it is.
func (f *forgotten) turn(digest dataset.Digest, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.at[digest]; ok && now.Sub(last) < forgetPause {
		return false
	}
	for d, last := range f.at {
		if now.Sub(last) >= forgetPause {
			delete(f.at, d)
		}
	}
	if len(f.at) >= maxForgotten {
		return false
	}
	if f.at == nil {
		f.at = make(map[dataset.Digest]time.Time)
	}
	f.at[digest] = now
	return true
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

// forget lets go of what is kept of the object, here and in the relays upstream, if it is time.
func (r *Relay) forget(ctx context.Context, digest dataset.Digest, size int64) {
	if !r.forgotten.turn(digest, time.Now()) {
		return
	}
	r.deps.Log.Warn("a client wants an object anew, since what it got was wrong; it is read again from the origin", "object", digest)
	if origin, ok := r.deps.Store.(interface {
		Forget(ctx context.Context, digest dataset.Digest) error
	}); ok {
		ctx, cancel := context.WithTimeout(ctx, forgetWait)
		defer cancel()
		if err := origin.Forget(ctx, digest); err != nil {
			r.deps.Log.Warn("not every relay upstream could be told to read an object anew", "object", digest, "error", err)
		}
	}
	r.cache.Forget(digest, size)
}
