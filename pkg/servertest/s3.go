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
	installS3 = "go install github.com/versity/versitygw/cmd/versitygw@v1.8.0"

	// S3Region is the region of every S3Server.
	S3Region = "us-east-1"

	s3AccessKey, s3SecretKey = "freshet-test", "freshet-test-secret"
)

// S3 starts an S3 server with one bucket, and sets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to its credentials
// for the test and the child processes it starts; so the test cannot be a parallel one.
func S3(t testing.TB) *S3Server {
	t.Helper()
	path := program(t, "versitygw", installS3)
	t.Setenv("AWS_ACCESS_KEY_ID", s3AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	s := &S3Server{Bucket: "freshet"}
	startOnFreePort(t, 1, func(ports []int) *Process {
		dir := t.TempDir()
		addr := loopback(ports[0])
		s.Endpoint = "http://" + addr
		s.Root = filepath.Join(dir, "buckets")
		meta := filepath.Join(dir, "meta")
		for _, folder := range []string{filepath.Join(s.Root, s.Bucket), meta} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatalf("make a folder of the S3 server: %v", err)
			}
		}
		s.Process = newProcess(t, command{
			name: "versitygw",
			path: path,
			args: []string{
				"--port", addr, "--quiet", "posix",
				// A sidecar folder, because a temporary folder may lie on a file system without extended attributes.
				"--sidecar", meta, s.Root,
			},
			env:   []string{"ROOT_ACCESS_KEY=" + s3AccessKey, "ROOT_SECRET_KEY=" + s3SecretKey, "VGW_REGION=" + S3Region},
			dir:   dir,
			ready: findBucket(t, addr, s.Bucket),
		})
		return s.Process
	})
	return s
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
