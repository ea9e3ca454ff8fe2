package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet.dev/services/internal/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(dir string) Config {
	return Config{
		Dir: dir, Host: "127.0.0.1", Instances: []string{"a", "b"}, Datasets: []string{"prices"},
		Log: slog.New(slog.DiscardHandler),
	}
}

// fetch returns the status and body of an HTTP answer.
func fetch(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// awaitRecord waits until an instance serves the value.
func awaitRecord(t *testing.T, url, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		status, got := fetch(t, http.MethodGet, url, "")
		if status == http.StatusOK && got == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s answers %d %q, want %q", url, status, got, want)
		}
	}
}

// TestKeepsWhatWasPublished publishes to a stack and looks up the record there and in the next stack with the same folder.
func TestKeepsWhatWasPublished(t *testing.T) {
	cfg := config(t.TempDir())
	const record = `{"sku":"A1","price":5}`
	for _, publish := range []bool{true, false} {
		err := Run(t.Context(), cfg, func(_ context.Context, at Addresses) error {
			if publish {
				if status, body := fetch(t, http.MethodPost, at.Publisher+"/v1/datasets/prices/versions?key=sku", record+"\n"); status != http.StatusCreated {
					t.Fatalf("publish: %d %s", status, body)
				}
			}
			for _, i := range at.Instances {
				awaitRecord(t, i.URL+"/v1/datasets/prices/records/A1", record)
			}
			if status, body := fetch(t, http.MethodGet, at.Relay+"/v1/datasets/prices/latest", ""); status != http.StatusOK {
				t.Errorf("the relay's newest version: %d %s", status, body)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneProcessForAFolder(t *testing.T) {
	cfg := config(t.TempDir())
	err := Run(t.Context(), cfg, func(ctx context.Context, _ Addresses) error {
		return Run(ctx, cfg, func(context.Context, Addresses) error { return nil })
	})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), cfg.Dir) {
		t.Errorf("got %v, want ErrInUse with the folder", err)
	}
}

func TestBusyPortNamesThePart(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	for part, ports := range map[string]Ports{
		"nats": {NATS: port}, "redis": {Redis: port}, "publisher": {Publisher: port}, "relay": {Relay: port}, "server": {Server: port},
	} {
		t.Run(part, func(t *testing.T) {
			cfg := config(t.TempDir())
			cfg.Ports = ports
			err := Run(t.Context(), cfg, func(context.Context, Addresses) error {
				t.Error("it started")
				return nil
			})
			busy, ok := errors.AsType[*PortError](err)
			if !ok || busy.Part != part || busy.Address != listener.Addr().String() {
				t.Errorf("got %v, want a PortError of %s on %s", err, part, listener.Addr())
			}
			if strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("more than one message: %q", err)
			}
		})
	}
}

func TestFurtherInstancesTakeTheNextPorts(t *testing.T) {
	p := Ports{Server: 8482}
	if p.server(0) != 8482 || p.server(2) != 8484 || (Ports{}).server(2) != 0 {
		t.Errorf("got %d, %d, %d", p.server(0), p.server(2), (Ports{}).server(2))
	}
}

func TestUseEnds(t *testing.T) {
	failure := errors.New("seen enough")
	err := Run(t.Context(), config(t.TempDir()), func(context.Context, Addresses) error { return failure })
	if !errors.Is(err, failure) {
		t.Errorf("got %v, want the error of use", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	err = Run(ctx, config(t.TempDir()), func(ctx context.Context, _ Addresses) error {
		cancel()
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	err = Run(ctx, config(t.TempDir()), func(ctx context.Context, _ Addresses) error { return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before the start: got %v, want context.Canceled", err)
	}
}

// failing is a service whose Run calls end.
type failing struct {
	ready chan struct{}
	run   func(ctx context.Context) error
}

func (f failing) Run(ctx context.Context) error { return f.run(ctx) }
func (f failing) Ready() <-chan struct{}        { return f.ready }
func (f failing) Addr() string                  { return "127.0.0.1:1" }

// TestAPartFails has a service that fails in each possible way, between two good services, after use was called.
func TestAPartFails(t *testing.T) {
	for want, run := range map[string]func() error{
		"the middle failed: disk on fire":  func() error { return errors.New("disk on fire") },
		"the middle failed: panic: kaputt": func() error { panic("kaputt") },
		"the middle stopped unexpectedly":  func() error { return nil },
	} {
		t.Run(want, func(t *testing.T) {
			s := newSupervisor(t.Context())
			ready := make(chan struct{})
			close(ready)
			var order []string
			good := func(name string) failing {
				return failing{ready, func(ctx context.Context) error {
					<-ctx.Done()
					order = append(order, name)
					return nil
				}}
			}
			fail := make(chan struct{})
			parts := map[string]failing{
				"first": good("first"), "last": good("last"),
				"middle": {ready, func(context.Context) error {
					<-fail
					return run()
				}},
			}
			for _, name := range []string{"first", "middle", "last"} {
				if _, err := s.run(name, "", parts[name]); err != nil {
					t.Fatal(err)
				}
			}
			close(fail)
			<-s.ctx.Done()
			err := s.stop(fmt.Errorf("a consequence: %w", context.Canceled))
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "consequence") {
				t.Errorf("got %v, want %s", err, want)
			}
			if strings.Join(order, " ") != "last first" {
				t.Errorf("stopped in the order %v", order)
			}
		})
	}
}

func TestRefusesItsConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no folder":         func(c *Config) { c.Dir = "" },
		"no dataset":        func(c *Config) { c.Datasets = nil },
		"no name":           func(c *Config) { c.Datasets = []string{"Prices"} },
		"no instance":       func(c *Config) { c.Instances = nil },
		"no port":           func(c *Config) { c.Ports.Relay = 65536 },
		"too high in a row": func(c *Config) { c.Ports.Server = 65535 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t.TempDir())
			change(&cfg)
			if err := Run(t.Context(), cfg, nil); !errors.Is(err, ErrConfig) {
				t.Errorf("got %v, want ErrConfig", err)
			}
		})
	}
}

// TestSettingsOfTheServices takes settings from the environment, except for addresses and folders.
func TestSettingsOfTheServices(t *testing.T) {
	t.Setenv("FRESHET_SOURCE", "the environment")
	t.Setenv("FRESHET_LISTEN", "nowhere")
	t.Setenv("FRESHET_NATS_URL", "nats://192.0.2.1:1")
	err := Run(t.Context(), config(t.TempDir()), func(_ context.Context, at Addresses) error {
		_, body := fetch(t, http.MethodPost, at.Publisher+"/v1/datasets/prices/versions?key=sku", `{"sku":"A1"}`)
		if !strings.Contains(body, "the environment") {
			t.Errorf("the version's source is not that of the environment: %s", body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FRESHET_RELAY_CACHE_BYTES", "many")
	if err := Run(t.Context(), config(t.TempDir()), nil); !errors.Is(err, settings.ErrSettings) {
		t.Errorf("got %v, want ErrSettings", err)
	}
}

func TestFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(filepath.Join(file, "data"))
	if err := Run(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names %s", err, file)
	}
}

func TestRESPListen(t *testing.T) {
	for _, c := range []struct {
		listen string
		i      int
		want   string
	}{
		{"", 1, ""},
		{"0", 1, "0"},
		{"6380", 0, "6380"},
		{"6380", 2, "6382"},
		{":6380", 1, ":6381"},
		{"0.0.0.0:6380", 1, "0.0.0.0:6381"},
		{"[::1]:6380", 1, "[::1]:6381"},
		{"localhost", 1, "localhost"}, // the server refuses it
	} {
		if got := respListen(c.listen, c.i); got != c.want {
			t.Errorf("respListen(%q, %d) = %q, want %q", c.listen, c.i, got, c.want)
		}
	}
}
