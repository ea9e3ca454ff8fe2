package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/dataset"
)

const (
	// s3Attempts bounds how often a request that may be repeated is sent: with the library's pauses (200 ms,
	// doubled, at most 1 s, random) about 2 s, enough for a throttled request and little enough for a caller that
	// can go elsewhere.
	s3Attempts = 5
	// defaultPartBytes is the size of a multipart upload's parts and the largest upload in one request. S3 wants
	// parts of at least 5 MiB and at most 10,000 of them.
	defaultPartBytes = 16 << 20
	maxParts         = 10_000
	// uploadLanes is how many parts travel at once: an upload holds that many parts in memory, and one more.
	uploadLanes = 3
	// defaultPageKeys is the most that S3 lists in one answer.
	defaultPageKeys = 1000
	// lookAnew is after how long Newest does not go by what it knows of a dataset, but lists it.
	lookAnew = time.Minute
)

// s3 is the store in a bucket.
type s3 struct {
	core     *minio.Core
	settings s3Settings
	idle     func() // closes idle connections
	// These are constant but for tests, which set them before use.
	partBytes  int64
	pageKeys   int
	staleAfter time.Duration
	lookAnew   time.Duration

	// gate is a lock that a context can end the wait for: who has sent to it holds it. It guards what follows.
	gate chan struct{}
	// honours says that the server is known to honour conditional writes.
	honours bool
	// swept is when dead uploads were last removed.
	swept time.Time

	mu sync.Mutex
	// newest holds, by dataset, the newest version as of the last look, guarded by mu.
	newest map[string]seenRecord
	// listed holds, by dataset, when its newest version was last found by a listing and not by what was known, guarded by mu.
	listed map[string]time.Time

	rounds rounds // of Newest
}

// seenRecord is a version record that is known to have been in the bucket; version 0 is none.
type seenRecord struct {
	version uint64
	etag    string
	// content is the bytes that had the etag, nil until they are read.
	content []byte
	// id is the version id, zero until it is needed.
	id dataset.VersionID
}

func openS3(ctx context.Context, u *url.URL) (Store, error) { return newS3(ctx, u, nil) }

// newS3 opens the bucket; wrap, if not nil, stands between it and the network in tests.
func newS3(ctx context.Context, u *url.URL, wrap func(http.RoundTripper) http.RoundTripper) (*s3, error) {
	settings, err := parseS3(u)
	if err != nil {
		return nil, err
	}
	creds, err := s3Credentials()
	if err != nil {
		return nil, err
	}
	secure := settings.endpoint.Scheme == "https"
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, fmt.Errorf("set up connections to %s: %w", settings.endpoint, err)
	}
	var rt http.RoundTripper = transport
	if wrap != nil {
		rt = wrap(transport)
	}
	core, err := minio.NewCore(settings.endpoint.Host, &minio.Options{
		Creds: creds, Secure: secure, Transport: rt, Region: settings.region, BucketLookup: settings.lookup, MaxRetries: s3Attempts,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: s3 bucket %q at %s: %w", ErrURL, settings.bucket, settings.endpoint, err)
	}
	s := &s3{
		core: core, settings: settings, idle: transport.CloseIdleConnections,
		partBytes: defaultPartBytes, pageKeys: defaultPageKeys, staleAfter: staleAfter, lookAnew: lookAnew,
		gate: make(chan struct{}, 1), newest: map[string]seenRecord{}, listed: map[string]time.Time{},
	}
	there, err := core.BucketExists(ctx, settings.bucket)
	if err == nil && !there {
		err = minio.ErrorResponse{Code: minio.NoSuchBucket, Message: "no such bucket"}
	}
	if err != nil {
		s.idle()
		return nil, s.failed("look for the bucket", "", err)
	}
	return s, nil
}

// key returns the key of name.
func (s *s3) key(name string) string { return s.settings.prefix + name }

func (s *s3) String() string { return s.settings.text }

func (s *s3) Close() error {
	s.idle()
	return nil
}

// full returns the URL of name, without the query, for a message.
func (s *s3) full(name string) string {
	return "s3://" + s.settings.bucket + "/" + s.settings.prefix + name
}

// failed wraps an error of a request, with what to do about it where the server's text does not say that.
func (s *s3) failed(doing, name string, err error) error {
	hint := ""
	switch {
	case isCode(err, minio.NoSuchBucket):
		return fmt.Errorf("%s %s: %w: %w; create the bucket %s at %s (for example: aws s3 mb s3://%[5]s --endpoint-url %[6]s) or correct the store's URL",
			doing, s.full(name), ErrUnusable, err, s.settings.bucket, s.settings.endpoint)
	case isCode(err, minio.AccessDenied, "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
		hint = "; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they are allowed to do"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case isCode(err, ""):
		hint = fmt.Sprintf("; is the S3 server at %s up?", s.settings.endpoint)
	}
	return fmt.Errorf("%s %s: %w%s", doing, s.full(name), err, hint)
}

// isCode reports whether the server answered with one of the error codes; "" is an error that is no answer of the
// server. It wants the error as the library returned it.
func isCode(err error, codes ...string) bool {
	return slices.Contains(codes, minio.ToErrorResponse(err).Code)
}
