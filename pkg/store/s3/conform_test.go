package s3_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/s3"
	"freshet.dev/pkg/store/storetest"
)

func openStore(ctx context.Context, rawURL string) (store.Store, error) { return s3.Open(ctx, rawURL) }

func TestMain(m *testing.M) { os.Exit(storetest.Main(m, openStore)) }

func TestConformance(t *testing.T) {
	server := servertest.S3(t)
	size := int64(40 << 20) // three parts
	if testing.Short() {
		size = 17 << 20 // two
	}
	storetest.Run(t, storetest.Config{
		Location:   func(t *testing.T) string { return server.URL(t.Name()) },
		Open:       openStore,
		File:       func(place string) string { return server.Root + "/" + strings.TrimPrefix(place, "s3://") },
		LargeBytes: size,
	})
}
