package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
)

// probeFile is the name of the conditional write that probe sends. It is not removed, so that the next probe takes one request.
const probeFile = layout.TmpFolder + "/conditional-write"

// firstPause and longestPause bound the pauses between attempts. They are those of the client.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = time.Second
)

// prepare must precede every upload. It refuses a server without conditional writes, and removes dead uploads.
func (s *Store) prepare(ctx context.Context) error {
	if s.writeLock.Acquire(ctx, 1) != nil {
		return s.failed("prepare to write to", "", context.Cause(ctx))
	}
	defer s.writeLock.Release(1)
	if !s.conditional {
		if err := s.probe(ctx); err != nil {
			return err
		}
		s.conditional = true
	}
	if time.Since(s.swept) > s.staleAfter {
		s.swept = time.Now()
		s.sweep(ctx)
	}
	return nil
}

// probe sends the same conditional write twice. The server must refuse the second, and also the first if the key exists.
func (s *Store) probe(ctx context.Context) error {
	for range 2 {
		_, err := s.putIfAbsent(ctx, probeFile, []byte("freshet has seen that this S3 server honours If-None-Match: *\n"))
		switch {
		case isCode(err, minio.PreconditionFailed):
			return nil
		case isCode(err, "NotImplemented"):
			return s.noConditions("refuses")
		case err != nil:
			return s.failed("try a conditional write at", probeFile, err)
		}
	}
	return s.noConditions("ignores")
}

func (s *Store) noConditions(how string) error {
	return fmt.Errorf("%w: the S3 server at %s %s If-None-Match: * when it writes (tried at %s), so publishers could overwrite "+
		"each other's versions; use a server or a release of it that has conditional writes", store.ErrUnusable, s.settings.endpoint, how, s.full(probeFile))
}

// commit creates a record and returns its etag. It fails with [store.ErrExists] if the record exists, and with [store.ErrUnknown] if the
// server may have created it.
func (s *Store) commit(ctx context.Context, name string, b []byte) (etag string, err error) {
	c := creation{store: s, name: name, content: b}
	err = backoff.New(firstPause, longestPause).Retry(ctx, c.temporary, func() error { return c.try(ctx) })
	if err != nil && c.unknown && !errors.Is(err, store.ErrExists) {
		err = fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return c.etag, err
}

// creation is one call of commit.
type creation struct {
	store   *Store
	name    string
	content []byte
	etag    string // of the record, after a success
	tries   int
	final   bool // no retry can succeed
	unknown bool // the server may have executed an attempt
}

// temporary reports whether to retry.
func (c *creation) temporary(error) bool { return !c.final && c.tries < maxAttempts }

// try sends one conditional write.
func (c *creation) try(ctx context.Context) (err error) {
	c.tries++
	c.etag, err = c.store.putIfAbsent(ctx, c.name, c.content)
	switch {
	case err == nil:
		return nil
	case isCode(err, minio.PreconditionFailed):
		return c.taken(ctx)
	case isCode(err, "ConditionalRequestConflict", "OperationAborted"): // S3 documents these as not executed, to be retried
	case isRejected(err):
		c.final = true
	case !isUnsent(err):
		c.unknown = true
	}
	return c.store.failed("create", c.name, err)
}

// taken handles the refusal of a record that exists. The refusal of a retry may be caused by an earlier attempt. Then the existing
// record has the same content: a record names its publisher and the nanosecond of its creation.
func (c *creation) taken(ctx context.Context) error {
	if c.unknown {
		existing, etag, err := c.store.readRecord(ctx, c.name)
		if err != nil {
			return err
		}
		if bytes.Equal(existing, c.content) {
			c.etag = etag
			return nil
		}
	}
	c.final = true
	return fmt.Errorf("%w: another publisher committed it at the same time", store.ErrExists)
}

// isRejected reports whether err is a response that a retry does not change.
func isRejected(err error) bool {
	status := minio.ToErrorResponse(err).StatusCode
	return 400 <= status && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// isUnsent reports whether err is a failure to connect, before the request was sent.
func isUnsent(err error) bool {
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial"
}

// putIfAbsent sends one conditional write without retries, because the server could refuse a retry because of the first attempt. It
// returns the client's error.
func (s *Store) putIfAbsent(ctx context.Context, name string, b []byte) (etag string, err error) {
	opts := minio.PutObjectOptions{ContentType: "application/json", DisableContentSha256: true}
	opts.SetMatchETagExcept("*")
	sum := sha256.Sum256(b)
	// The client retries a request only if its body is an io.Seeker.
	body := struct{ io.Reader }{bytes.NewReader(b)}
	info, err := s.core.PutObject(ctx, s.settings.bucket, s.key(name), body, int64(len(b)), "", hex.EncodeToString(sum[:]), opts)
	return info.ETag, err
}
