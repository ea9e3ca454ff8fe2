package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/segments"
	"freshet.dev/services/relay/internal/upstream"
)

// retrySeconds is the least Retry-After of a busy relay; see [web.Unavailable].
const retrySeconds = 2

// object answers GET and HEAD of an object.
func (r *Relay) object(w http.ResponseWriter, req *http.Request) error {
	digest, err := dataset.ParseDigest(req.PathValue("digest"))
	if err != nil {
		return web.Refuse(http.StatusBadRequest, "bad-digest", "%v", err)
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		r.count.rejected.Add(1)
		return web.Unavailable("busy", retrySeconds, nil, "%d responses are in progress; try again after a moment", cap(r.slots))
	}
	nameStore(w, r.storeID.recent(req.Context()))
	size, err := r.cache.Size(req.Context(), digest)
	if err != nil {
		return r.objectProblem(digest, err)
	}
	if bypassesCache(req) {
		if damaged := r.recheck(req.Context(), digest, size); damaged != nil {
			p := web.Refuse(http.StatusBadGateway, pull.DamagedKind, "%v; a publish of all records of its dataset heals it", damaged).With("object", digest)
			p.Header = http.Header{pull.DamagedHeader: {strings.Map(printable, damaged.Error())}}
			return p
		}
		if size, err = r.cache.Size(req.Context(), digest); err != nil {
			return r.objectProblem(digest, err)
		}
	}
	etag := strconv.Quote(digest.String())
	h := w.Header()
	h.Set("Etag", etag)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Cache-Control", "public, max-age=31536000, immutable") // the digest names these bytes and no others
	if web.MatchesETag(req.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	want, status := span{0, size}, http.StatusOK
	if part, ok := parseRange(req.Header.Get("Range"), size); ok && wantsRange(req, etag) {
		if part.from >= part.to {
			p := web.Refuse(http.StatusRequestedRangeNotSatisfiable, "bad-range", "object %s has %d bytes", digest, size)
			p.Header = http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}}
			return p
		}
		want, status = part, http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.from, part.to-1, size))
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(want.to-want.from, 10))
	if req.Method == http.MethodHead {
		w.WriteHeader(status)
		return nil
	}
	return r.send(w, req, digest, size, want, status)
}

// send writes the bytes of want.
func (r *Relay) send(w http.ResponseWriter, req *http.Request, digest dataset.Digest, size int64, want span, status int) error {
	reader := r.cache.NewReader(digest, size, want.from, want.to)
	defer reader.Close()
	body := &body{ctx: req.Context(), reader: reader, unit: r.cache.SegmentBytes(), left: want, sent: &r.count.clientBytes}
	// The first segment is read before the status is sent, so that a failure of the store has its own status.
	if _, err := body.Hold(); err != nil && !errors.Is(err, io.EOF) {
		return r.objectProblem(digest, err)
	}
	body.Drop(0)
	w.WriteHeader(status)
	_, err := io.Copy(w, body)
	switch {
	case body.err != nil:
		return r.objectProblem(digest, body.err) // closes the connection: a part has been sent
	case err != nil:
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.count.slow.Add(1)
		}
		panic(http.ErrAbortHandler) // the client has left or is too slow
	}
	return nil
}

// objectProblem returns the answer for an object, or the rest of one, that could not be read.
func (r *Relay) objectProblem(digest dataset.Digest, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return web.Refuse(http.StatusNotFound, "unknown-object", "the store has no object %s", digest)
	case errors.Is(err, segments.ErrBusy), errors.Is(err, upstream.ErrBusy):
		r.count.rejected.Add(1)
		return web.Unavailable("busy", retrySeconds, err, "the relay is at its limits; try again after a moment")
	case errors.Is(err, context.Canceled):
		return err // the client has left, or the relay stops
	default:
		return web.Unavailable("store-unavailable", retrySeconds, err, "the store did not return object %s; the relay's log says why", digest)
	}
}

// printable replaces what a header cannot hold.
func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}
