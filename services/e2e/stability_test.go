package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/servertest"
)

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

// Invariant: `freshet publish --wait` returns when every live instance serves the version, with a line for each.
func TestCommandLineWaitsForEveryInstance(t *testing.T) {
	const name = "browser-compat"
	s := newSystem(t, "", 3, name)
	out := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "freshet"), args...)
		cmd.Env = append(cmd.Environ(), "FRESHET_PUBLISHER_URL="+s.Publisher.URL, "FRESHET_NATS_URL="+s.NATS.URL, "FRESHET_SERVER_URL="+s.Instances[2].URL,
			"FRESHET_NAMESPACE="+s.namespace)
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
