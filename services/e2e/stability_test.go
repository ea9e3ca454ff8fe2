package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/servertest"
)

// Invariant: with NATS, Redis, relay and publisher all gone, an instance goes on serving, a restarted one serves the
// same from its cache folder and says so, and when they are back it catches up by itself.
func TestInstancesServeWhenEverythingElseIsDown(t *testing.T) {
	const name = "browser-compat"
	s := newSystem(t, "", 2, name)
	all := shipped(t)
	first, second := all[0].records(t), all[1].records(t)
	s.post(t, name, all[0])
	for _, instance := range s.Instances {
		awaitVersion(t, instance, name, 1)
	}

	s.Publisher.Kill()
	s.Relay.Kill()
	s.NATS.Kill()
	s.Redis.Kill()
	stays, restarts := s.Instances[0], s.Instances[1]
	restarts.Kill()
	restarts.Start()
	awaitVersion(t, restarts, name, 1)
	for _, instance := range s.Instances {
		checkAll(t, instance, name, 1, first, nil)
		if err := healthy(t.Context(), instance.URL+"/readyz"); err != nil {
			t.Error(err)
		}
	}
	now, err := datasets(t.Context(), restarts)
	if err != nil || now[name].From != "cache" {
		t.Errorf("the restarted instance says %+v, %v; want that it serves from its cache", now[name], err)
	}
	if !strings.Contains(restarts.Log(), "cache") {
		t.Error("the restarted instance's log does not say that it serves from its cache")
	}

	s.Redis.Start()
	s.NATS.Start()
	s.Relay.Start()
	s.Publisher.Start()
	s.post(t, name, all[1])
	for _, instance := range []*program{stays, restarts} {
		awaitVersion(t, instance, name, 2)
		checkAll(t, instance, name, 2, second, first)
	}
}

// Invariant: a program that is told to stop ends by itself, with exit code 0, and what it held is left whole.
func TestProgramsStopWhenTold(t *testing.T) {
	const name = "browser-compat"
	s := newSystem(t, "", 1, name)
	s.post(t, name, shipped(t)[0])
	awaitVersion(t, s.Instances[0], name, 1)
	for _, p := range []*program{s.Instances[0], s.Relay, s.Publisher} {
		p.Stop() // fails the test if SIGTERM does not end it
		if code := p.ExitCode(); code != 0 {
			t.Errorf("%s ended with exit code %d after SIGTERM; the end of its log:\n%s", p.URL, code, p.Log())
		}
	}
}

// Invariant: a dataset without a version makes an instance unready, not unhealthy, and readyz names it.
func TestReadinessNamesWhatIsMissing(t *testing.T) {
	s := newSystem(t, "", 1, "browser-compat", "prices")
	s.post(t, "browser-compat", shipped(t)[0])
	awaitVersion(t, s.Instances[0], "browser-compat", 1)
	status, _, body, err := do(t.Context(), http.MethodGet, s.Instances[0].URL+"/readyz", "", nil)
	if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(string(body), "prices") || strings.Contains(string(body), "browser-compat") {
		t.Errorf("readyz answers %d %s, %v; want 503 that names prices alone", status, body, err)
	}
	status, _, body, err = do(t.Context(), http.MethodGet, s.Instances[0].URL+"/v1/datasets/prices/records/x", "", nil)
	if err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("a look-up answers %d %s, %v; want 503", status, body, err)
	}
}

// Invariant: versions neither skip nor repeat when two publisher services publish at once, and every instance ends on
// the last.
func TestTwoPublishersAtOnce(t *testing.T) {
	const name, each = "prices", 25
	s := newSystem(t, "", 2, name)
	second := *s
	second.Publisher = start(t, "publisher", append(s.settings, "TEMP_DIR="+t.TempDir())...)
	var mu sync.Mutex
	seen := map[uint64]string{}
	var wg sync.WaitGroup
	for p, sys := range []*system{s, &second} {
		wg.Go(func() {
			for i := range each {
				content := fmt.Sprintf(`{"key":"a","by":%d,"n":%d}`, p, i)
				for {
					status, header, body, err := do(t.Context(), http.MethodPost, sys.Publisher.URL+"/v1/datasets/"+name+"/versions?key=key", "application/x-ndjson", []byte(content))
					if err == nil && status == http.StatusConflict {
						continue // a clear conflict: publish again
					}
					if err != nil || status != http.StatusCreated {
						t.Errorf("publish: %d %s %v", status, body, err)
						return
					}
					version := uint64(0)
					if _, err := fmt.Sscanf(filepath.Base(header.Get("Location")), "%d", &version); err != nil {
						t.Errorf("Location is %q", header.Get("Location"))
						return
					}
					mu.Lock()
					if was, twice := seen[version]; twice {
						t.Errorf("version %d was given to %s and to %s", version, was, content)
					}
					seen[version] = content
					mu.Unlock()
					break
				}
			}
		})
	}
	wg.Wait()
	for v := uint64(1); v <= 2*each; v++ {
		if seen[v] == "" {
			t.Errorf("there is no version %d", v)
		}
	}
	for _, instance := range s.Instances {
		awaitVersion(t, instance, name, 2*each)
		value, _, err := get(t.Context(), instance, name, "a")
		if err != nil || string(value) != seen[2*each] {
			t.Errorf("%s answers %s, %v; want %s", instance.URL, value, err, seen[2*each])
		}
	}
}

// Invariant: `freshet publish --wait` returns when every live instance serves the version, with a line for each.
func TestCommandLineWaitsForEveryInstance(t *testing.T) {
	const name = "browser-compat"
	s := newSystem(t, "", 3, name)
	out := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "freshet"), args...)
		cmd.Env = append(cmd.Environ(), "FRESHET_PUBLISHER_URL="+s.Publisher.URL, "FRESHET_NATS_URL="+s.NATS.URL, "FRESHET_SERVER_URL="+s.Instances[2].URL)
		b, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("freshet %q: %v\n%s", args, err, b)
		}
		return string(b)
	}
	text := out("publish", name, "../freshet/internal/demo/data/8.1.9.ndjson.gz", "--key", "key", "--wait")
	for i := range s.Instances {
		if want := fmt.Sprintf("instance-%d", i+1); !strings.Contains(text, want) {
			t.Errorf("no line for %s in\n%s", want, text)
		}
	}
	for key, value := range shipped(t)[7].records(t) {
		if got := out("get", name, key); strings.TrimSpace(got) != value {
			t.Errorf("get %s prints %s, want %s", key, got, value)
		}
		break
	}
	if text := out("status"); strings.Count(text, "instance-") != 3 {
		t.Errorf("status prints\n%s", text)
	}
	if text := out("versions", name); !strings.Contains(text, "5,925") {
		t.Errorf("versions prints\n%s", text)
	}
}

// Invariant: the same holds with the objects and version records in an S3 bucket.
func TestStoreInS3(t *testing.T) {
	const name = "browser-compat"
	bucket := servertest.S3(t)
	s := newSystem(t, bucket.URL("freshet"), 2, name)
	var before map[string]string
	for i, e := range shipped(t)[:3] {
		want := e.records(t)
		s.post(t, name, e)
		for _, instance := range s.Instances {
			awaitVersion(t, instance, name, uint64(i+1))
			checkAll(t, instance, name, uint64(i+1), want, before)
		}
		before = want
	}
	// Without the catalog the relay takes the newest version from the store.
	s.Redis.Stop()
	eventually(t, func(ctx context.Context) error {
		status, _, body, err := do(ctx, http.MethodGet, s.Relay.URL+"/v1/datasets/"+name+"/latest", "", nil)
		if err == nil && (status != http.StatusOK || !strings.Contains(string(body), `"version":3`)) {
			err = fmt.Errorf("latest answers %d %s", status, body)
		}
		return err
	})
}
