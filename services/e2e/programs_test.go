package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/servertest"
)

// bin is the folder of the programs under test.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "freshet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", append([]string{"build", "-o", dir}, programsOf...)...)
	build.Dir = ".." // in their own module, with its own requirements
	out, err := build.CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		return 1
	}
	exit := m.Run()
	if err := table.print(); err != nil {
		fmt.Fprintf(os.Stderr, "print what the faults cost: %v\n", err)
		return 1
	}
	return exit
}

// client is the tests' HTTP client, configured as a user's program would.
var client = &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}

// program is one of freshet's programs with its own port.
type program struct {
	*servertest.Process
	URL string
}

// start starts a program with the settings ("NAME=value" without the prefix FRESHET_) and waits until it is healthy.
func start(t *testing.T, name string, settings ...string) *program {
	t.Helper()
	p := prepare(t, name, settings...)
	p.Start()
	return p
}

func prepare(t *testing.T, name string, settings ...string) *program {
	t.Helper()
	return prepareIn(t, bin, name, nil, settings...)
}

// prepareIn is prepare for a program in the folder, with additional environment variables.
func prepareIn(t *testing.T, folder, name string, env []string, settings ...string) *program {
	t.Helper()
	return prepareAt(t, "127.0.0.1:"+strconv.Itoa(servertest.FreePort(t)), folder, name, env, settings...)
}

// prepareAt is prepareIn for a program that listens on the address.
func prepareAt(t *testing.T, addr, folder, name string, env []string, settings ...string) *program {
	t.Helper()
	env = append(env, "FRESHET_LISTEN="+addr, "FRESHET_NAMESPACE=") // whatever the shell has; settings may name another
	for _, s := range settings {
		env = append(env, "FRESHET_"+s)
	}
	p := &program{URL: "http://" + addr}
	p.Process = servertest.New(t, servertest.Program{
		Name: name, Path: filepath.Join(folder, "freshet-"+name), Env: env,
		Ready: func(ctx context.Context) error { return healthy(ctx, p.URL+"/healthz") },
	})
	return p
}

func healthy(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// system is a complete freshet: real servers and freshet's programs.
type system struct {
	Redis     *servertest.RedisServer
	NATS      *servertest.NATSServer
	Publisher *program
	Relay     *program
	Instances []*program

	settings []string // common to all
	// namespace is that of all programs; empty is the default one.
	namespace string
}

// newSystem starts a system with the given number of instances of the datasets. store is a store URL; empty means a temporary folder.
func newSystem(t *testing.T, store string, instances int, datasets ...string) *system {
	t.Helper()
	if store == "" {
		store = "dir://" + t.TempDir()
	}
	s := &system{Redis: servertest.Redis(t), NATS: servertest.NATS(t)}
	s.settings = []string{"REDIS_URL=" + s.Redis.URL, "NATS_URL=" + s.NATS.URL, "STORE_URL=" + store, "LOG_LEVEL=debug"}
	s.Publisher = start(t, "publisher", append(s.settings, "TEMP_DIR="+t.TempDir())...)
	s.Relay = start(t, "relay", s.settings...)
	for i := range instances {
		s.Instances = append(s.Instances, s.newInstance(t, i+1, datasets...))
	}
	return s
}

func (s *system) newInstance(t *testing.T, n int, datasets ...string) *program {
	t.Helper()
	return start(t, "server", "NATS_URL="+s.NATS.URL, "REDIS_URL="+s.Redis.URL, "RELAYS="+s.Relay.URL, "DATASETS="+strings.Join(datasets, ","),
		"CACHE_DIR="+t.TempDir(), "INSTANCE=instance-"+strconv.Itoa(n), "LOG_LEVEL=debug")
}

// eventually waits until f returns nil. After a minute it fails the test with f's last error.
func eventually(t *testing.T, f func(ctx context.Context) error) {
	t.Helper()
	eventuallyIn(t, time.Minute, f)
}

// eventuallyIn is eventually with the timeout limit.
func eventuallyIn(t *testing.T, limit time.Duration, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	var last error
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil || last == nil { // what f says when it is cut off tells nothing
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %v", limit, last)
		case <-poll.C:
		}
	}
}
