package relay_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/relay"
)

// The relay as its command runs it: a store in a folder, a real Redis that dies and comes back.
func TestRunWithRealRedis(t *testing.T) {
	redis := servertest.Redis(t)
	dir := "dir://" + t.TempDir()
	s, err := storeurl.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	content := bytes.Repeat([]byte("freshet "), 100_000)
	rec := record("cities", 1)
	rec.Snapshot = dataset.Object{Version: 1, Digest: sha256.Sum256(content), Bytes: int64(len(content))}
	if err := s.PutObject(t.Context(), rec.Snapshot.Digest, rec.Snapshot.Bytes, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := s.PutVersion(t.Context(), rec); err != nil {
		t.Fatal(err)
	}

	cfg := config()
	cfg.StoreURL, cfg.RedisURL, cfg.Namespace = settings.URL(dir), settings.URL(redis.URL), "a"
	deps, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, err := relay.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	base := "http://" + r.Addr()
	client := &http.Client{}
	get := func(path string) (*http.Response, []byte) {
		t.Helper()
		res, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, b
	}

	if res, b := get("/v1/objects/" + rec.Snapshot.Digest.String()); res.StatusCode != 200 || !bytes.Equal(b, content) {
		t.Errorf("%d with %d bytes", res.StatusCode, len(b))
	}
	latestFrom := func() string {
		t.Helper()
		res, b := get("/v1/datasets/cities/latest")
		if got, err := dataset.DecodeVersionRecord(b); err != nil || got.Snapshot != rec.Snapshot {
			t.Fatalf("%d %s: %v", res.StatusCode, b, err)
		}
		return res.Header.Get("Freshet-From")
	}
	if from := latestFrom(); from != "store" {
		t.Errorf("before the version is indexed: from the %s", from)
	}
	rdb, err := catalog.Connect(redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	if _, err := catalog.New(rdb, cfg.Namespace).Advance(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if from := latestFrom(); from != "catalog" {
		t.Errorf("once it is indexed: from the %s", from)
	}
	redis.Kill()
	start := time.Now()
	if from := latestFrom(); from != "store" || time.Since(start) > 5*time.Second {
		t.Errorf("without Redis: from the %s after %v", from, time.Since(start))
	}
	redis.Restart()
	for deadline := time.Now().Add(20 * time.Second); latestFrom() != "catalog"; {
		if time.Now().After(deadline) {
			t.Fatal("Redis is back, but the store is still asked")
		}
	}
	client.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Errorf("a stop is an error: %v", err)
	}
	if err := deps.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", r.Addr()); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

func TestOpenRefusesABadStore(t *testing.T) {
	cfg := config()
	cfg.StoreURL = "s3://bucket-without-server?endpoint=ftp://x&secret=hunter2"
	deps, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "FRESHET_STORE_URL") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
		_ = deps.Close()
	}
}

// A relay creates no folder: one that does not exist is a missing mount. The remedy in the error works.
func TestOpenMakesNoFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "store")
	cfg := config()
	cfg.StoreURL = settings.URL("dir://" + folder)
	_, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if !errors.Is(err, store.ErrMissing) || !strings.Contains(err.Error(), folder) || !strings.Contains(err.Error(), "start the publisher first") {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(folder); err == nil {
		t.Error("the folder is there now")
	}
	st, err := storeurl.Open(t.Context(), "dir://"+folder) // as a publisher does
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	deps, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := deps.Close(); err != nil {
		t.Error(err)
	}
}
