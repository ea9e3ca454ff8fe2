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
	// S3Region is the region of every S3Server.
	S3Region = "us-east-1"

	s3AccessKey, s3SecretKey = "freshet-test", "freshet-test-secret"
)

// S3 starts an S3 server with one bucket, and sets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to its credentials
// for the test and the child processes it starts; so the test cannot be a parallel one.
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
			env:   []string{"ROOT_ACCESS_KEY=" + s3AccessKey, "ROOT_SECRET_KEY=" + s3SecretKey, "VGW_REGION=" + S3Region},
			dir:   dir,
			ready: findBucket(t, addr, s.Bucket),
		})
		return s.Process
	})
	return s
}

// keepMetadata returns the options that say where the server keeps its metadata. Extended attributes come first: with
// them a file appears whole with its metadata, as a bucket's object should. With a folder beside the bucket the
// metadata is there first, so that for a moment a conditional write is refused for a file that no listing shows; that
// is for temporary folders on file systems without extended attributes.
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
	u.RawQuery = url.Values{"endpoint": {s.Endpoint}, "region": {S3Region}}.Encode()
	return u.String()
}

func findBucket(t testing.TB, addr, bucket string) func(context.Context) error {
	t.Helper()
	transport, err := minio.DefaultTransport(false)
	if err != nil {
		t.Fatalf("set up a client of the S3 server: %v", err)
	}
	transport.DisableKeepAlives = true // leaves no goroutine behind
	client, err := minio.New(addr, &minio.Options{
		Creds:      credentials.NewStaticV4(s3AccessKey, s3SecretKey, ""),
		Region:     S3Region,
		Transport:  transport,
		MaxRetries: 1,
	})
	if err != nil {
		t.Fatalf("set up a client of the S3 server: %v", err)
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		there, err := client.BucketExists(ctx, bucket)
		if err == nil && !there {
			return fmt.Errorf("the S3 server has no bucket %s", bucket)
		}
		return err
	}
}
