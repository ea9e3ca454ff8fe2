package store_test

import (
	"os"
	"strings"
	"testing"

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
