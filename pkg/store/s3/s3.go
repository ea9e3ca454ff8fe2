package s3

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
	"golang.org/x/sync/semaphore"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/roundrobin"
)

const (
	// maxAttempts is how often a request that can be repeated is sent. With the client's pauses (200 ms, doubled, at most 1 s, random) it
	// takes about 2 s: enough for a throttled request, and short for a caller that has an alternative.
	maxAttempts = 5
	// defaultPartBytes is the size of a part of a multipart upload, and the size of the largest upload in one request. S3 requires parts
	// of at least 5 MiB and at most 10,000 of them.
	defaultPartBytes = 16 << 20
	maxParts         = 10_000
	// uploadConcurrency is the number of parts that an upload sends at a time. The upload holds that many parts in memory, and one more.
	uploadConcurrency = 3
	// readConcurrency is the number of small requests that a call sends at a time.
	readConcurrency = 8
	// defaultPageKeys is the most keys that S3 lists in one response.
	defaultPageKeys = 1000
	// defaultListInterval is how long Newest relies on the known newest version of a dataset before it lists the dataset again.
	defaultListInterval = time.Minute
)

// Store is a store in a bucket.
type Store struct {
	core      *minio.Core
	settings  settings
	closeIdle func() // closes idle connections

	// Tests change these before use.
	partBytes    int64
	pageKeys     int
	staleAfter   time.Duration
	listInterval time.Duration

	// writeLock is a mutex: a semaphore of 1, so that a context can end the wait for it. It guards the two fields below.
	writeLock *semaphore.Weighted
	// conditional is set when the server is known to support conditional writes.
	conditional bool
	// swept is when dead uploads were last removed.
	swept time.Time

	mu sync.Mutex // guards newest and listed
	// newest has, by folder, the newest record at the last call.
	newest map[string]knownRecord
	// listed has, by folder, the time of the last listing.
	listed map[string]time.Time

	datasets roundrobin.Reader // of Newest
}

var _ store.Store = (*Store)(nil)

// knownRecord is a version record, or a journal entry, that was in the bucket. A version of 0 means that there was none.
type knownRecord struct {
	version uint64
	etag    string
	// content has the bytes with that etag; nil until they are read.
	content []byte
	// id is the version id, zero until it is needed.
	id dataset.VersionID
}

// Open opens the store at rawURL, and checks that the bucket exists. The package documentation describes the URL. ctx is for that check
// only: its end does not affect the open store.
func Open(ctx context.Context, rawURL string) (*Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error quotes parts of the URL, which may contain a password.
		return nil, fmt.Errorf("%w: it cannot be parsed; want s3://bucket/prefix, with %%25 for a %%", store.ErrURL)
	}
	return open(ctx, u, nil)
}

// open opens the bucket. If wrap is not nil, it wraps the transport in tests.
func open(ctx context.Context, u *url.URL, wrap func(http.RoundTripper) http.RoundTripper) (*Store, error) {
	s, err := connect(u, wrap)
	if err != nil {
		return nil, err
	}
	exists, err := s.core.BucketExists(ctx, s.settings.bucket)
	if err == nil && !exists {
		err = minio.ErrorResponse{Code: minio.NoSuchBucket, Message: "no such bucket"}
	}
	if err != nil {
		s.closeIdle()
		return nil, s.failed("look for the bucket", "", err)
	}
	return s, nil
}

// connect makes the client of the bucket. It sends no request.
func connect(u *url.URL, wrap func(http.RoundTripper) http.RoundTripper) (*Store, error) {
	settings, err := parseURL(u)
	if err != nil {
		return nil, err
	}
	creds, err := environmentCredentials()
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
		Creds: creds, Secure: secure, Transport: rt, Region: settings.region, BucketLookup: settings.lookup, MaxRetries: maxAttempts,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: s3 bucket %q at %s: %w", store.ErrURL, settings.bucket, settings.endpoint, err)
	}
	return &Store{
		core: core, settings: settings, closeIdle: transport.CloseIdleConnections,
		partBytes: defaultPartBytes, pageKeys: defaultPageKeys, staleAfter: layout.StaleAfter, listInterval: defaultListInterval,
		writeLock: semaphore.NewWeighted(1), newest: map[string]knownRecord{}, listed: map[string]time.Time{},
	}, nil
}

// key returns the key of name.
func (s *Store) key(name string) string { return s.settings.prefix + name }

// String returns the URL of the store.
func (s *Store) String() string { return s.settings.text }

// Close implements [store.Store].
func (s *Store) Close() error {
	s.closeIdle()
	return nil
}

// full returns the URL of name, without the query, for a message.
func (s *Store) full(name string) string {
	return "s3://" + s.settings.bucket + "/" + s.settings.prefix + name
}

// failed wraps an error of a request. It adds the remedy where the server's text lacks it.
func (s *Store) failed(doing, name string, err error) error {
	hint := ""
	switch {
	case isCode(err, minio.NoSuchBucket):
		return fmt.Errorf("%s %s: %w: %w; create the bucket %s at %s (for example: aws s3 mb s3://%[5]s --endpoint-url %[6]s) or correct the store's URL",
			doing, s.full(name), store.ErrUnusable, err, s.settings.bucket, s.settings.endpoint)
	case isCode(err, minio.AccessDenied, "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
		hint = "; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they are allowed to do"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case isCode(err, ""):
		hint = fmt.Sprintf("; is the S3 server at %s up?", s.settings.endpoint)
	}
	return fmt.Errorf("%s %s: %w%s", doing, s.full(name), err, hint)
}

// isCode reports whether the server responded with one of the error codes; "" stands for an error that is no response of the server.
// err must be the error that the client returned, not one that wraps it.
func isCode(err error, codes ...string) bool {
	return slices.Contains(codes, minio.ToErrorResponse(err).Code)
}
