package subscribe_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

func init() { children["guarded"] = guardedChild }

// guardedChild is a service with the dataset prices. It prints its status after every change, confirms the served version for each line
// that it reads, and is killed by the version DEADLY in the way HOW:
//
//   - panic: one of its goroutines panics when the version is in the cache folder
//   - late: it dies while it stops, not because of the version
//   - swap: it ends at the swap, before the version can be in the cache folder
//
// It stops in good order after SIGTERM and at the end of its input.
func guardedChild() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if id, ok := os.LookupEnv("BOOT_ID"); ok {
		subscribe.SetBootID(id)
	}
	deadly, _ := strconv.ParseUint(os.Getenv("DEADLY"), 10, 64)
	cfg := subscribe.Config{
		NATS: os.Getenv("NATS"), Relays: []string{os.Getenv("RELAY")}, Datasets: []string{"prices"}, CacheDir: os.Getenv("CACHE_DIR"),
		Instance: "child", RetryInitial: time.Millisecond, RetryMax: 10 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if text := os.Getenv("CONFIRM_AFTER"); text != "" {
		var err error
		if cfg.ConfirmAfter, err = time.ParseDuration(text); err != nil {
			return err
		}
	}
	cfg.Observer.Swapped = func(r subscribe.Refresh) {
		if r.Record.Version == deadly && os.Getenv("HOW") == "swap" {
			os.Exit(3)
		}
	}
	sub, err := subscribe.Open(ctx, cfg)
	if err != nil {
		return err
	}
	input := make(chan struct{})
	go func() {
		defer close(input)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if rec, ok := handle(sub, "prices").Version(); ok {
				if err := sub.Confirm(rec); err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var last fleet.DatasetStatus
	for {
		d, _ := sub.Status().Dataset("prices")
		if d.Version != last.Version || d.State != last.State || d.Quarantined != last.Quarantined || d.Confirmed.IsZero() != last.Confirmed.IsZero() {
			last = d
			if err := json.NewEncoder(os.Stdout).Encode(d); err != nil {
				return err
			}
		}
		if d.Version > 0 && d.Version == deadly && os.Getenv("HOW") == "panic" {
			held, err := cachedir.New(cfg.CacheDir).Held("prices")
			if cfg.CacheDir == "" || err == nil && held.Record.Version == deadly {
				go func() { panic("a fault of the service at version " + fmt.Sprint(deadly)) }()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if os.Getenv("HOW") == "late" {
				sub.Stopping()
				os.Exit(4) // as if it were killed while it drains requests
			}
			return sub.Close()
		case <-input:
			return sub.Close()
		}
	}
}

// guarded is a process of guardedChild.
type guarded struct {
	t     *testing.T
	cmd   *exec.Cmd
	input io.WriteCloser
	ended chan error

	mu   sync.Mutex
	last fleet.DatasetStatus // guarded by mu
	log  bytes.Buffer        // guarded by mu
}

// Write keeps what the process logs.
func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.Write(p)
}

func (g *guarded) logged() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.String()
}

func (g *guarded) status() fleet.DatasetStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// guard starts a process with the cache folder.
func (w *world) guard(dir string, environment ...string) *guarded {
	w.t.Helper()
	environment = append([]string{"NATS=" + w.nats.URL, "RELAY=" + w.relay.url, "CACHE_DIR=" + dir}, environment...)
	g := &guarded{t: w.t, cmd: child(w.t, "guarded", environment...), ended: make(chan error, 1)}
	g.cmd.Stderr = g
	var err error
	if g.input, err = g.cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var d fleet.DatasetStatus
			if json.Unmarshal(lines.Bytes(), &d) == nil {
				g.mu.Lock()
				g.last = d
				g.mu.Unlock()
			}
		}
		g.ended <- g.cmd.Wait()
		close(g.ended)
	}()
	w.t.Cleanup(func() { _ = g.cmd.Process.Kill(); <-g.ended })
	return g
}

// dies waits until the process has died.
func (g *guarded) dies() {
	g.t.Helper()
	select {
	case err := <-g.ended:
		if err == nil {
			g.t.Fatalf("the process ended well, and should have died; it logged\n%s", g.logged())
		}
	case <-time.After(patience):
		g.t.Fatalf("the process lives on, with the status %+v; it logged\n%s", g.status(), g.logged())
	}
}

// stops waits until the process has ended with code 0.
func (g *guarded) stops() {
	g.t.Helper()
	select {
	case err := <-g.ended:
		if err != nil {
			g.t.Fatalf("the process ended with %v; it logged\n%s", err, g.logged())
		}
	case <-time.After(patience):
		g.t.Fatal("the process does not stop")
	}
}

// terminate sends SIGTERM and waits for the end.
func (g *guarded) terminate() {
	g.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		g.t.Fatal(err)
	}
	g.stops()
}

// serves waits until the process serves the version in a state in which nothing is quarantined.
func (g *guarded) serves(version uint64) {
	g.t.Helper()
	g.says(fmt.Sprintf("version %d is served, and nothing quarantined", version), func(d fleet.DatasetStatus) bool {
		return d.Version == version && d.State != fleet.Quarantined && d.Quarantined.Version == 0
	})
}

// says waits until the status fulfils the condition.
func (g *guarded) says(what string, is func(fleet.DatasetStatus) bool) {
	g.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is(g.status()) {
		select {
		case <-tick.C:
		case err := <-g.ended:
			g.t.Fatalf("the process ended with %v before %s; it logged\n%s", err, what, g.logged())
		case <-deadline:
			g.t.Fatalf("waited in vain until %s; the status is %+v; it logged\n%s", what, g.status(), g.logged())
		}
	}
}

// boot returns the content of boot.json.
func boot(dir string) cachedir.Boot { return cachedir.New(dir).Boot("prices") }

func bootFile(dir string) string { return filepath.Join(dir, "prices", "boot.json") }
