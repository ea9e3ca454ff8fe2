package store_test

import (
	"crypto/sha256"
	"errors"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func TestDirConforms(t *testing.T) {
	storetest.Run(t, storetest.Config{
		URL:        func(t *testing.T) string { return "dir://" + t.TempDir() },
		LargeBytes: 3 << 20,
	})
}

func TestS3Conforms(t *testing.T) {
	server := servertest.S3(t)
	size := int64(40 << 20) // three parts
	if testing.Short() {
		size = 17 << 20 // two
	}
	storetest.Run(t, storetest.Config{
		URL:        func(t *testing.T) string { return server.URL(t.Name()) },
		File:       func(place string) string { return server.Root + "/" + strings.TrimPrefix(place, "s3://") },
		LargeBytes: size,
	})
}

// wantMessage fails the test unless err wraps want, if there is one, and its message holds all the parts.
func wantMessage(t *testing.T, err, want error, parts ...string) {
	t.Helper()
	if err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("got error %v, want one that wraps %v", err, want)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the message\n\t%v\ndoes not say %q", err, part)
		}
	}
}

func sum(b []byte) dataset.Digest { return sha256.Sum256(b) }

func digestOf(content string) dataset.Digest { return sum([]byte(content)) }
