package relay

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/services/relay/internal/segments"
	"github.com/maypok86/otter/v2"
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
	// maxRechecks bounds how many objects are remembered.
	maxRechecks = 1024
)

// rechecks holds the objects that were checked within their pause, with how they are damaged in the store: nil if they are not,
// or if that is unknown.
type rechecks struct {
	*otter.Cache[dataset.Digest, error]
	slots chan struct{} // a semaphore: one for each recheck in progress
}

func newRechecks() rechecks {
	return rechecks{otter.Must(&otter.Options[dataset.Digest, error]{
		MaximumSize: maxRechecks, ExpiryCalculator: otter.ExpiryWriting[dataset.Digest, error](recheckPause), Clock: segments.Clock{},
	}), make(chan struct{}, recheckSlots)}
}

// bypassesCache reports whether the request has the directive no-cache (RFC 9111, section 5.2.1.4). Instances send it after
// wrong bytes from this relay, which may have been damaged on the way here.
func bypassesCache(req *http.Request) bool {
	return slices.ContainsFunc(strings.Split(req.Header.Get("Cache-Control"), ","), func(directive string) bool {
		return strings.EqualFold(strings.TrimSpace(directive), "no-cache")
	})
}

// recheck removes the object from the cache and from those of the relays upstream, if a recheck is due, and checks it in the
// store. damaged is how it is damaged there; the client then does not distrust this relay.
func (r *Relay) recheck(ctx context.Context, digest dataset.Digest, size int64) (damaged error) {
	if damaged, due := r.rechecks.SetIfAbsent(digest, nil); !due {
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
		r.rechecks.Set(digest, err)
		r.rechecks.SetExpiresAfter(digest, max(damagedPause, min(damagedPauses*time.Since(began), recheckPause)))
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
