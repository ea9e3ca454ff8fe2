// Package system runs all of freshet for a benchmark: a real redis-server and nats-server, and freshet's programs built from this
// checkout, each in its own process.
package system

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"freshet.dev/pkg/servertest"
)

// programs are freshet's programs.
var programs = []string{"publisher", "relay", "server"}

// System is a running freshet.
type System struct {
	// NATS, Publisher and Relay are URLs.
	NATS, Publisher, Relay string

	host *host
	bin  string
}

// Run starts the servers, a publisher and a relay with the store at the URL and their files in dir. It calls f and then stops all
// processes.
func Run(ctx context.Context, dir, store string, f func(*System) error) error {
	h := &host{ctx: ctx, dir: dir}
	return h.run(func() error {
		s := &System{host: h}
		if err := s.build(ctx); err != nil {
			return err
		}
		redis, nats := servertest.Redis(h), servertest.NATS(h)
		s.NATS = nats.URL
		settings := []string{"REDIS_URL=" + redis.URL, "NATS_URL=" + nats.URL, "STORE_URL=" + store}
		s.Publisher = s.start("publisher", append(settings, "TEMP_DIR="+h.TempDir())...)
		s.Relay = s.start("relay", settings...)
		return f(s)
	})
}

// Instance starts an instance of the datasets and returns its URL. The instance may not serve the datasets yet.
func (s *System) Instance(name string, datasets ...string) string {
	return s.InstanceWith(nil, name, datasets...)
}

// InstanceWith is Instance with more settings ("NAME=value" without the prefix FRESHET_).
func (s *System) InstanceWith(settings []string, name string, datasets ...string) string {
	return s.start("server", append(settings, "NATS_URL="+s.NATS, "RELAYS="+s.Relay, "DATASETS="+strings.Join(datasets, ","), "INSTANCE="+name,
		"CACHE_DIR="+s.host.TempDir())...)
}

// build builds freshet's programs.
func (s *System) build(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if err != nil {
		return fmt.Errorf("find the workspace: %w", err)
	}
	s.bin = s.host.TempDir()
	args := []string{"build", "-o", s.bin}
	for _, p := range programs {
		args = append(args, "./services/"+p+"/cmd/freshet-"+p)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = filepath.Dir(strings.TrimSpace(string(out))), os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	return nil
}

// start starts a program with the settings ("NAME=value" without the prefix FRESHET_) and returns its URL.
func (s *System) start(name string, settings ...string) string {
	addr := "127.0.0.1:" + strconv.Itoa(servertest.FreePort(s.host))
	// The benchmarks query instances in the default namespace, so the shell's namespace must not apply.
	env := []string{"FRESHET_LISTEN=" + addr, "FRESHET_LOG_LEVEL=warn", "FRESHET_NAMESPACE="}
	for _, set := range settings {
		env = append(env, "FRESHET_"+set)
	}
	servertest.New(s.host, servertest.Program{
		Name: name, Path: filepath.Join(s.bin, "freshet-"+name), Env: env,
		Ready: func(ctx context.Context) error { return healthy(ctx, "http://"+addr+"/healthz") },
	}).Start()
	return "http://" + addr
}

func healthy(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
