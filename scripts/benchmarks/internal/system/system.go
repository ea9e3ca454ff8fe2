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
	"freshet.dev/pkg/servertest/footprint"
)

// programs are freshet's programs.
var programs = []string{"publisher", "relay", "server"}

// System is a running freshet.
type System struct {
	// NATS, Redis, Publisher and Relay are URLs. Publisher is empty if none runs.
	NATS, Redis, Publisher, Relay string

	host *host
	bin  string
}

// Run starts the servers, a publisher and a relay with the store at the URL and their files in dir. It calls f and then stops all
// processes.
func Run(ctx context.Context, dir, store string, f func(*System) error) error {
	return run(ctx, dir, store, true, f)
}

// RunWithoutPublisher is Run without a publisher, for versions that the benchmark commits itself.
func RunWithoutPublisher(ctx context.Context, dir, store string, f func(*System) error) error {
	return run(ctx, dir, store, false, f)
}

func run(ctx context.Context, dir, store string, publisher bool, f func(*System) error) error {
	h := &host{ctx: ctx, dir: dir}
	return h.run(func() error {
		s := &System{host: h}
		if err := s.build(ctx); err != nil {
			return err
		}
		redis, nats := servertest.Redis(h), servertest.NATS(h)
		s.NATS, s.Redis = nats.URL, redis.URL
		settings := []string{"REDIS_URL=" + redis.URL, "NATS_URL=" + nats.URL, "STORE_URL=" + store}
		if publisher {
			s.Publisher = s.start("publisher", append(settings, "TEMP_DIR="+h.TempDir())...)
		}
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

// Measured starts an instance with the settings ("NAME=value" without the prefix FRESHET_) in addition to the address that it listens on.
// It returns the URL and the process, whose memory meter measures if it is not nil. The processors are those of the command taskset, such
// as 0; empty means all.
func (s *System) Measured(meter *footprint.Meter, processors string, settings ...string) (string, *servertest.Process) {
	addr, p := s.program("server", settings)
	p.Meter = meter
	if processors != "" {
		p.Args, p.Path = []string{"-c", processors, p.Path}, "taskset" // which replaces itself by the program
	}
	return "http://" + addr, s.Start(p)
}

// Start starts any program of a benchmark and returns its process.
func (s *System) Start(p servertest.Program) *servertest.Process {
	if path, err := exec.LookPath(p.Path); err == nil {
		p.Path = path
	}
	process := servertest.New(s.host, p)
	process.Start()
	return process
}

// TempDir returns a folder that is removed with that of the benchmark.
func (s *System) TempDir() string { return s.host.TempDir() }

// FreePort returns a port on loopback that stays free for the benchmark.
func (s *System) FreePort() int { return servertest.FreePort(s.host) }

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
	addr, p := s.program(name, settings)
	s.Start(p)
	return "http://" + addr
}

// program returns a program with the settings, and the address that it will listen on.
func (s *System) program(name string, settings []string) (addr string, p servertest.Program) {
	addr = "127.0.0.1:" + strconv.Itoa(servertest.FreePort(s.host))
	// The benchmarks query instances in the default namespace, so the shell's namespace must not apply.
	env := []string{"FRESHET_LISTEN=" + addr, "FRESHET_LOG_LEVEL=warn", "FRESHET_NAMESPACE="}
	for _, set := range settings {
		if strings.HasPrefix(set, "GO") { // a setting of the Go runtime
			env = append(env, set)
			continue
		}
		env = append(env, "FRESHET_"+set)
	}
	return addr, servertest.Program{
		Name: name, Path: filepath.Join(s.bin, "freshet-"+name), Env: env,
		Ready: func(ctx context.Context) error { return healthy(ctx, "http://"+addr+"/healthz") },
	}
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
