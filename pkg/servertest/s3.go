package servertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Server is a versitygw that keeps its buckets as folders.
type S3Server struct {
	*Process
	// Endpoint is http://host:port.
	Endpoint string
	// Bucket is a bucket that exists and is empty at the start.
	Bucket string
	// Root is the folder that holds the buckets.
	Root string
}

const (
	// s3Region is the region of every S3Server.
	s3Region = "us-east-1"

	s3AccessKey, s3SecretKey = "freshet-test", "freshet-test-secret"
)

// S3 starts an S3 server with one bucket. It sets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the server's credentials for
// the test and its child processes, so the test cannot be parallel.
func S3(t testing.TB) *S3Server {
	t.Helper()
	path := program(t, "versitygw", installTools)
	t.Setenv("AWS_ACCESS_KEY_ID", s3AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	s := &S3Server{Bucket: "freshet"}
	startOnFreePort(t, 1, func(ports []int) *Process {
		dir := t.TempDir()
		addr := loopback(ports[0])
		s.Endpoint = "http://" + addr
		s.Root = filepath.Join(dir, "buckets")
		if err := os.MkdirAll(filepath.Join(s.Root, s.Bucket), 0o755); err != nil {
			t.Fatalf("make the bucket of the S3 server: %v", err)
		}
		s.Process = newProcess(t, command{
			name:  "versitygw",
			path:  path,
			args:  append(append([]string{"--port", addr, "--quiet", "posix"}, keepMetadata(t, dir, s.Root)...), s.Root),
			env:   []string{"ROOT_ACCESS_KEY=" + s3AccessKey, "ROOT_SECRET_KEY=" + s3SecretKey, "VGW_REGION=" + s3Region},
			dir:   dir,
			ready: findBucket(t, addr, s.Bucket),
		})
		return s.Process
	})
	return s
}

// keepMetadata returns the options for the location of the server's metadata. It prefers extended attributes: with them a
// file and its metadata appear at once, like an object of a bucket. On file systems without them it uses a separate folder.
// There the metadata appears first, so that for a moment the server refuses a conditional write for a file that no listing
// shows.
func keepMetadata(t testing.TB, dir, root string) []string {
	t.Helper()
	if hasAttributes(root) {
		return nil
	}
	meta := filepath.Join(dir, "metadata")
	if err := os.Mkdir(meta, 0o755); err != nil {
		t.Fatalf("make a folder of the S3 server: %v", err)
	}
	return []string{"--sidecar", meta}
}

// URL returns the store URL of the prefix, which may be empty, in the server's bucket.
func (s *S3Server) URL(prefix string) string {
	u := url.URL{Scheme: "s3", Host: s.Bucket, Path: "/" + prefix}
	u.RawQuery = url.Values{"endpoint": {s.Endpoint}, "region": {s3Region}}.Encode()
	return u.String()
}

func findBucket(t testing.TB, addr, bucket string) func(context.Context) error {
	t.Helper()
	transport, err := minio.DefaultTransport(false)
	if err != nil {
		t.Fatalf("set up a client of the S3 server: %v", err)
	}
	transport.DisableKeepAlives = true // leaks no goroutine
	client, err := minio.New(addr, &minio.Options{
		Creds:      credentials.NewStaticV4(s3AccessKey, s3SecretKey, ""),
		Region:     s3Region,
		Transport:  transport,
		MaxRetries: 1,
	})
	if err != nil {
		t.Fatalf("set up a client of the S3 server: %v", err)
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		exists, err := client.BucketExists(ctx, bucket)
		if err == nil && !exists {
			return fmt.Errorf("the S3 server has no bucket %s", bucket)
		}
		return err
	}
}
