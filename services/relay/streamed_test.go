package relay_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay"
)

// The log names an object that does not fit into the cache, once, and the variable to raise.
func TestAStreamedObjectIsLoggedOnce(t *testing.T) {
	m := newMemory()
	fits, _ := m.add(1000)
	large, _ := m.add(16 << 20)
	var logged strings.Builder
	r, err := relay.New(config(), relay.Deps{Store: m, Log: slog.New(slog.NewTextHandler(&logged, nil)), Registry: web.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 3 {
		for _, d := range []string{fits.String(), large.String()} {
			if res := do(t, r.Handler(), "GET", "/v1/objects/"+d, "Range", "bytes=0-9"); res.StatusCode != 206 || len(body(t, res)) != 10 {
				t.Errorf("%s: %d", d, res.StatusCode)
			}
		}
	}
	text := logged.String()
	if strings.Count(text, "does not fit into the cache") != 1 {
		t.Errorf("the log is %s", text)
	}
	for _, want := range []string{"object=" + large.String(), fmt.Sprintf("bytes=%d", 16<<20), fmt.Sprintf("cache_bytes=%d", 16<<20), "FRESHET_RELAY_CACHE_BYTES"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the log: %s", want, text)
		}
	}
}
