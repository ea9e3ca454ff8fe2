package store

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
)

// probeFile is where the conditional write is tried. It stays: the next look then takes one request.
const probeFile = tmpFolder + "/conditional-write"

// firstPause is about how long a throttling server wants to be left alone first; the library begins with the same.
const firstPause = 200 * time.Millisecond

// prepare makes ready for writing: a server that ignores conditional writes is refused before anything is uploaded,
// and what died long ago is cleared away.
func (s *s3) prepare(ctx context.Context) error {
	select {
	case s.gate <- struct{}{}:
	case <-ctx.Done():
		return s.failed("prepare to write to", "", context.Cause(ctx))
	}
	defer func() { <-s.gate }()
	if !s.honours {
		if err := s.probe(ctx); err != nil {
			return err
		}
		s.honours = true
	}
	if time.Since(s.swept) > s.staleAfter {
		s.swept = time.Now()
		s.sweep(ctx)
	}
	return nil
}

// probe writes the same key if absent twice: the second must be refused, and the first too if the key is there.
func (s *s3) probe(ctx context.Context) error {
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

func (s *s3) noConditions(how string) error {
	return fmt.Errorf("%w: the S3 server at %s %s If-None-Match: * when it writes (tried at %s), so publishers could overwrite "+
		"each other's versions; use a server or a release of it that has conditional writes", ErrUnusable, s.settings.endpoint, how, s.full(probeFile))
}

// commit creates the version record and returns its etag, or ErrExists. It is sent again when it is not known to have
// failed. A refusal after that may be of our own first try, which is told by the content: it names its publisher and
// the nanosecond of its creation.
func (s *s3) commit(ctx context.Context, name string, b []byte) (etag string, err error) {
	unknown := false // whether an earlier try may have been carried out
	try := func() (string, error) {
		etag, err := s.putIfAbsent(ctx, name, b)
		switch {
		case err == nil:
			return etag, nil
		case isCode(err, minio.PreconditionFailed) && unknown:
			there, etag, err := s.readRecord(ctx, name)
			if err == nil && bytes.Equal(there, b) {
				return etag, nil
			}
			if err == nil {
				err = backoff.Permanent(takenError())
			}
			return "", err
		case isCode(err, minio.PreconditionFailed):
			return "", backoff.Permanent(takenError())
		case isCode(err, "ConditionalRequestConflict", "OperationAborted"):
			return "", s.failed("create", name, err) // S3 says of these: not done, try again
		}
		answer := minio.ToErrorResponse(err)
		if 400 <= answer.StatusCode && answer.StatusCode < 500 && answer.StatusCode != http.StatusRequestTimeout &&
			answer.StatusCode != http.StatusTooManyRequests {
			return "", backoff.Permanent(s.failed("create", name, err))
		}
		if dial, ok := errors.AsType[*net.OpError](err); !ok || dial.Op != "dial" { // else the request was not sent
			unknown = true
		}
		return "", s.failed("create", name, err)
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = firstPause
	etag, err = backoff.Retry(ctx, try, backoff.WithBackOff(pauses), backoff.WithMaxTries(s3Attempts))
	if err != nil && unknown && !errors.Is(err, ErrExists) {
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return etag, err
}

func takenError() error {
	return fmt.Errorf("%w: another publisher committed it at the same time", ErrExists)
}

// putIfAbsent sends one conditional write, and does not repeat it: a repetition could be refused because of the
// first. Its error is the library's.
func (s *s3) putIfAbsent(ctx context.Context, name string, b []byte) (etag string, err error) {
	opts := minio.PutObjectOptions{ContentType: "application/json", DisableContentSha256: true}
	opts.SetMatchETagExcept("*")
	sum := sha256.Sum256(b)
	// The library repeats a request only if it can seek in its body.
	body := struct{ io.Reader }{bytes.NewReader(b)}
	info, err := s.core.PutObject(ctx, s.settings.bucket, s.key(name), body, int64(len(b)), "", hex.EncodeToString(sum[:]), opts)
	return info.ETag, err
}
