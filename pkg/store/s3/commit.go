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

	"github.com/cenkalti/backoff/v5"
	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
)

// probeFile is the name of the conditional write that probe sends. It is not removed, so that the next probe takes one request.
const probeFile = layout.TmpFolder + "/conditional-write"

// firstPause is about the first pause that a throttling server needs. The client starts with the same pause.
const firstPause = 200 * time.Millisecond

// prepare must precede every upload. It refuses a server without conditional writes, and removes dead uploads.
func (s *Store) prepare(ctx context.Context) error {
	select {
	case s.writeLock <- struct{}{}:
	case <-ctx.Done():
		return s.failed("prepare to write to", "", context.Cause(ctx))
	}
	defer func() { <-s.writeLock }()
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

// commit creates a record and returns its etag. It fails with [store.ErrExists] if the record exists.
//
// commit retries a request whose outcome is unknown. The refusal of a retry may be caused by the first attempt. Then the existing record
// has the same content: a record names its publisher and the nanosecond of its creation.
func (s *Store) commit(ctx context.Context, name string, b []byte) (etag string, err error) {
	unknown := false // whether the server may have executed an earlier attempt
	attempt := func() (string, error) {
		etag, err := s.putIfAbsent(ctx, name, b)
		switch {
		case err == nil:
			return etag, nil
		case isCode(err, minio.PreconditionFailed) && unknown:
			existing, etag, err := s.readRecord(ctx, name)
			if err == nil && bytes.Equal(existing, b) {
				return etag, nil
			}
			if err == nil {
				err = backoff.Permanent(takenError())
			}
			return "", err
		case isCode(err, minio.PreconditionFailed):
			return "", backoff.Permanent(takenError())
		case isCode(err, "ConditionalRequestConflict", "OperationAborted"):
			return "", s.failed("create", name, err) // S3 documents these as not executed, to be retried
		}
		response := minio.ToErrorResponse(err)
		if 400 <= response.StatusCode && response.StatusCode < 500 && response.StatusCode != http.StatusRequestTimeout &&
			response.StatusCode != http.StatusTooManyRequests {
			return "", backoff.Permanent(s.failed("create", name, err))
		}
		if dial, ok := errors.AsType[*net.OpError](err); !ok || dial.Op != "dial" { // a failed dial sent no request
			unknown = true
		}
		return "", s.failed("create", name, err)
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = firstPause
	etag, err = backoff.Retry(ctx, attempt, backoff.WithBackOff(pauses), backoff.WithMaxTries(maxAttempts))
	if err != nil && unknown && !errors.Is(err, store.ErrExists) {
		err = fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return etag, err
}

func takenError() error {
	return fmt.Errorf("%w: another publisher committed it at the same time", store.ErrExists)
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
