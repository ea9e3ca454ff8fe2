package publisher_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"freshet.dev/services/publisher"
	"github.com/klauspost/compress/zstd"
)

// windowed returns text in a zstd frame that declares a window of the given bytes.
func windowed(t *testing.T, text string, window int) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(text))
	_ = w.Flush() // a frame that is flushed has no content size, which could take the window's place
	_ = w.Close()
	var h zstd.Header
	if err := h.Decode(b.Bytes()); err != nil || h.WindowSize != uint64(window) {
		t.Fatalf("%+v, %v", h, err)
	}
	return b.String()
}

// Ten small bodies that declare windows of 128 MiB are refused before a window is allocated. The refusal's remedies work.
func TestLargeWindows(t *testing.T) {
	body := windowed(t, ndjson, 128<<20)
	h := newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) {
		c.MemoryBytes, c.Publishes, c.Patches = 64<<20, 10, 10
	}).Handler()
	if rec := send(h, "POST", versions+"?key=id", ndjson); rec.Code != http.StatusCreated {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answers := make([]*httptest.ResponseRecorder, 10)
	var sending sync.WaitGroup
	for i := range answers {
		sending.Go(func() {
			if i%2 == 0 {
				answers[i] = send(h, "POST", versions+"?key=id", body)
			} else {
				answers[i] = send(h, "PATCH", "/v1/datasets/prices?key=id", body)
			}
		})
	}
	sending.Wait()
	runtime.ReadMemStats(&after)
	// The windows would be 1280 MiB. The bound is far below that and leaves room for whatever else the process does.
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 640<<20 {
		t.Errorf("ten refusals allocate %d MiB", allocated>>20)
	}
	for i, rec := range answers {
		most, long, memory := "publishes is 32MiB", "--long=25", "256MiB"
		if i%2 == 1 {
			most, long, memory = "patches is 16MiB", "--long=24", "512MiB"
		}
		p := wantProblem(t, rec, http.StatusBadRequest, "bad-input")
		if !strings.Contains(p.Detail, "needs a window of 128MiB to decompress, and the most for "+most) ||
			!strings.Contains(p.Hint, long) || !strings.Contains(p.Hint, "raise FRESHET_MEMORY_BYTES of the publisher (MemoryBytes of the library) to "+memory) {
			t.Errorf("%s", rec.Body)
		}
	}
	if rec := send(h, "POST", versions+"?key=id", windowed(t, ndjson, 1<<25)); rec.Code != http.StatusOK {
		t.Errorf("a window of --long=25: %d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "PATCH", "/v1/datasets/prices?key=id", windowed(t, ndjson, 1<<24)); rec.Code != http.StatusOK {
		t.Errorf("a patch with a window of --long=24: %d %s", rec.Code, rec.Body)
	}
	h = newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.MemoryBytes = 256 << 20 }).Handler()
	if rec := send(h, "POST", versions+"?key=id", body); rec.Code != http.StatusCreated {
		t.Errorf("with FRESHET_MEMORY_BYTES=256MiB: %d %s", rec.Code, rec.Body)
	}
	h = newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.MemoryBytes = 512 << 20 }).Handler()
	for _, request := range [][2]string{{"POST", versions}, {"PATCH", "/v1/datasets/prices"}} {
		if rec := send(h, request[0], request[1]+"?key=id", body); rec.Code != http.StatusCreated && rec.Code != http.StatusOK {
			t.Errorf("%s with FRESHET_MEMORY_BYTES=512MiB: %d %s", request[0], rec.Code, rec.Body)
		}
	}
}

// A body whose window does not fit next to those of the bodies in progress is refused as busy.
func TestWindowsTakeTurns(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler() // memory for one window
	body := windowed(t, ndjson, 8<<20)
	if rec := send(h, "POST", "/v1/datasets/patched/versions?key=id", `{"id":"a"}`); rec.Code != http.StatusCreated {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	// What a publisher has of a body is decompressed once it is some 256 KiB: this does not get smaller.
	noise := make([]byte, 700<<10)
	_, _ = rand.Read(noise)
	text := fmt.Sprintf("{\"id\":\"a\",\"v\":%q}\n", base64.StdEncoding.EncodeToString(noise))
	conn, _ := dial(t, h)
	go chunk(conn, windowed(t, text, 8<<20)) // the body does not end
	for {
		rec := send(h, "POST", "/v1/datasets/other/versions?key=id", body)
		if rec.Code == http.StatusOK || rec.Code == http.StatusCreated {
			continue // the first has not begun
		}
		p := wantProblem(t, rec, http.StatusServiceUnavailable, "busy")
		if !strings.Contains(p.Detail, "FRESHET_MEMORY_BYTES") || rec.Header().Get("Retry-After") == "" {
			t.Errorf("%v %s", rec.Header(), rec.Body)
		}
		break
	}
	// Patches have a share that publishes do not take.
	if rec := send(h, "PATCH", "/v1/datasets/patched?key=id", body); rec.Code != http.StatusCreated {
		t.Errorf("a patch while a publish has the window: %d %s", rec.Code, rec.Body)
	}
	conn.Close()
	for {
		rec := send(h, "POST", "/v1/datasets/other/versions?key=id", body)
		if rec.Code == http.StatusOK || rec.Code == http.StatusCreated {
			return
		}
		if rec.Code != http.StatusServiceUnavailable {
			t.Fatalf("after the other has left: %d %s", rec.Code, rec.Body)
		}
	}
}
