package dir_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
	"freshet.dev/pkg/store/storetest"
)

func openStore(_ context.Context, path string) (store.Store, error) { return dir.Open(path) }

func TestMain(m *testing.M) { os.Exit(storetest.Main(m, openStore)) }

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Config{
		Location:   func(t *testing.T) string { return t.TempDir() },
		Open:       openStore,
		LargeBytes: 3 << 20,
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
