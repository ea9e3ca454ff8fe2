package subscribe_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// quarantines waits until the process serves the version and reports bad as quarantined.
func (g *guarded) quarantines(serves uint64, bad dataset.VersionRecord) {
	g.t.Helper()
	g.says(fmt.Sprintf("version %d is served and %s quarantined", serves, bad.Ref()), func(d fleet.DatasetStatus) bool {
		return d.Version == serves && d.State == fleet.Quarantined && d.Quarantined == bad.Ref()
	})
	d := g.status()
	for _, want := range []string{bad.Ref().String(), "publish a next version", "boot.json"} {
		if !strings.Contains(d.Warning, want) {
			g.t.Errorf("the status warns %q, want it to say %q", d.Warning, want)
		}
	}
	if d.Newest != bad.Version || d.BehindSince.IsZero() || d.Error != "" {
		g.t.Errorf("the status is %+v, want that the instance is behind, and no error", d)
	}
}

// deadly runs a process that the version kills in the given way.
func (w *world) deadly(dir, how string, version uint64, environment ...string) {
	w.t.Helper()
	w.guard(dir, append(environment, "HOW="+how, fmt.Sprint("DEADLY=", version))...).dies()
}

// good publishes version 1 and lets a process serve it.
func (w *world) good(dir string) {
	w.t.Helper()
	w.publish("prices", 1)
	g := w.guard(dir)
	g.serves(1)
	await(w.t, "version 1 to be cached", func() bool { return inFolder(dir) == 1 })
	g.terminate()
}

// inFolder returns the version in the cache folder.
func inFolder(dir string) uint64 {
	p := pipeline{name: "prices"}
	for v := uint64(1); v < 9; v++ {
		if p.cached(subscribe.Config{CacheDir: dir}, v, 1) {
			return v
		}
	}
	return 0
}

// Invariant: after a version has killed two processes, the third serves the version before, even with all servers down,
// reports the quarantined version continuously, and loads the next version.
func TestVersionThatKillsTheProcessIsQuarantined(t *testing.T) {
	for _, how := range []string{"panic", "swap"} {
		t.Run(how, func(t *testing.T) {
			w, dir := newWorld(t), t.TempDir()
			w.good(dir)
			bad := w.publish("prices", 2)
			w.deadly(dir, how, 2)
			second := w.guard(dir, "HOW="+how, "DEADLY=2")
			second.dies()
			if log := second.logged(); !strings.Contains(log, "the process before died") || !strings.Contains(log, "version=2") || !strings.Contains(log, "deaths=1") {
				t.Errorf("the log does not tell of the first death:\n%s", log)
			}
			w.down()
			for range 2 {
				alone := w.guard(dir, "HOW="+how, "DEADLY=2")
				alone.quarantines(1, bad)
				await(t, "the log to say that the dataset is quarantined", func() bool { return strings.Contains(alone.logged(), "now=quarantined") })
				alone.terminate()
			}
			w.relay.restart()
			w.nats.Start()
			await(t, "the connection to NATS", w.nc.IsConnected)
			reports, err := fleet.WatchReports(w.context(), w.nc, "", "prices")
			if err != nil {
				t.Fatal(err)
			}
			defer reports.Close()
			pulls := w.relay.objects.Load()
			third := w.guard(dir, "HOW="+how, "DEADLY=2")
			third.quarantines(1, bad)
			for {
				r, err := reports.Next(w.context())
				if err != nil {
					t.Fatal("no report names the quarantined version: ", err)
				}
				if r.State == fleet.Quarantined && r.Quarantined == bad.Ref() {
					break
				}
			}
			third.says("the event log has confirmed it", func(d fleet.DatasetStatus) bool { return !d.Confirmed.IsZero() })
			if n := w.relay.objects.Load() - pulls; n != 0 {
				t.Errorf("%d objects were pulled while the newest version is quarantined", n)
			}
			w.publish("prices", 3)
			third.serves(3)
			third.terminate()
			if d := boot(dir); d.Trying != nil {
				t.Errorf("after a stop in good order boot.json says %+v", d)
			}
		})
	}
}

// A process that is killed while it loads a version counts as a death of that version: the load may have exhausted the memory.
func TestDeathWhileLoading(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.good(dir)
	bad := w.publish("prices", 2)
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, bad.Snapshot.Digest.String()) {
			return false
		}
		rw.Header().Set("ETag", `"`+bad.Snapshot.Digest.String()+`"`)
		rw.Header().Set("Content-Length", fmt.Sprint(bad.Snapshot.Bytes))
		rw.(http.Flusher).Flush()
		<-q.Context().Done()
		return true
	})
	for n := range 2 {
		g := w.guard(dir)
		await(t, "the mark of version 2", func() bool {
			b := boot(dir)
			return b.Trying != nil && b.Trying.Ref == bad.Ref() && len(b.Deaths) == n // not the mark of the process before
		})
		if err := g.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		g.dies()
	}
	g := w.guard(dir)
	g.quarantines(1, bad)
	g.terminate()
}

// Without a version before, the process runs and serves nothing. It does not serve an earlier version that kills it too.
func TestQuarantineWithNothingBefore(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	first := w.publish("prices", 1)
	w.deadly(dir, "panic", 1)
	w.deadly(dir, "panic", 1)
	g := w.guard(dir, "HOW=panic", "DEADLY=1")
	g.quarantines(0, first)
	w.publish("prices", 2)
	g.serves(2)
	g.terminate()
}

// Every remedy that the message names works.
func TestRemedyOfAQuarantine(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.good(dir)
	bad := w.publish("prices", 2)
	w.deadly(dir, "panic", 2)
	w.deadly(dir, "panic", 2)
	g := w.guard(dir)
	g.quarantines(1, bad)
	if want := "remove " + bootFile(dir); !strings.Contains(g.status().Warning, want) {
		t.Errorf("the warning is %q, want it to say %q", g.status().Warning, want)
	}
	g.terminate()
	if err := os.Remove(bootFile(dir)); err != nil {
		t.Fatal(err)
	}
	g = w.guard(dir)
	g.serves(2)
	g.terminate()
}

// Invariant: a process that ends for other reasons, any number of times, quarantines no version.
func TestEndsThatAreNoDeaths(t *testing.T) {
	const times = 3
	for name, end := range map[string]func(w *world, dir string){
		"SIGTERM": func(w *world, dir string) {
			g := w.guard(dir)
			g.serves(2)
			g.terminate()
		},
		"SIGTERM, and killed while it stops": func(w *world, dir string) {
			g := w.guard(dir, "HOW=late")
			g.serves(2)
			if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				w.t.Fatal(err)
			}
			g.dies()
		},
		"clean exit": func(w *world, dir string) {
			g := w.guard(dir)
			g.serves(2)
			g.input.Close()
			g.stops()
		},
		"reboot": func(w *world, dir string) {
			w.deadly(dir, "panic", 2, "BOOT_ID="+fmt.Sprint("boot ", w.relay.latest.Add(1)))
		},
		"unknown boot": func(w *world, dir string) { w.deadly(dir, "panic", 2, "BOOT_ID=") },
		"confirmed by the service": func(w *world, dir string) {
			g := w.guard(dir)
			g.serves(2)
			if _, err := io.WriteString(g.input, "confirm\n"); err != nil {
				w.t.Fatal(err)
			}
			await(w.t, "the confirmation", func() bool { b := boot(dir); return b.Trying == nil && len(b.Confirmed) > 0 })
			g.cmd.Process.Kill()
			g.dies()
			w.deadly(dir, "panic", 2)
		},
		"confirmed by time": func(w *world, dir string) {
			g := w.guard(dir, "CONFIRM_AFTER=20ms")
			g.serves(2)
			await(w.t, "the confirmation", func() bool { b := boot(dir); return b.Trying == nil && len(b.Confirmed) > 0 })
			g.cmd.Process.Kill()
			g.dies()
			w.deadly(dir, "panic", 2, "CONFIRM_AFTER=20ms")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, dir := newWorld(t), t.TempDir()
			w.good(dir)
			w.publish("prices", 2)
			for range times {
				end(w, dir)
			}
			g := w.guard(dir)
			g.serves(2)
			g.terminate()
			if d := boot(dir).Deaths; len(d) > 0 {
				t.Errorf("boot.json counts %+v", d)
			}
		})
	}
}

// Deaths do not count for a version of which no relay has sent a byte.
func TestDeathWhileTheRelaysAreDown(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.publish("prices", 1)
	g := w.guard(dir)
	g.serves(1)
	if _, err := io.WriteString(g.input, "confirm\n"); err != nil {
		t.Fatal(err)
	}
	await(t, "version 1 to be confirmed and cached", func() bool { b := boot(dir); return len(b.Confirmed) == 1 && inFolder(dir) == 1 })
	g.terminate()
	w.publish("prices", 2)
	w.relay.stop()
	for range 3 {
		g := w.guard(dir)
		g.says("the refresh fails", func(d fleet.DatasetStatus) bool { return d.Version == 1 && d.State == fleet.Failing })
		g.cmd.Process.Kill()
		g.dies()
	}
	w.relay.restart()
	g = w.guard(dir)
	g.serves(2)
	g.terminate()
}

func TestNoGuardWithoutACacheFolder(t *testing.T) {
	w := newWorld(t)
	w.publish("prices", 1)
	for range 4 {
		w.deadly("", "panic", 1)
	}
	g := w.guard("")
	g.serves(1)
	g.terminate()
}

// A process that does not hold the cache folder writes no mark there, and its death does not count.
func TestDeathOfASecondProcess(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.good(dir)
	holder := w.guard(dir)
	holder.serves(1)
	w.publish("prices", 2)
	holder.serves(2)
	for range 3 {
		w.deadly(dir, "panic", 2)
	}
	holder.terminate()
	g := w.guard(dir)
	g.serves(2)
	g.terminate()
}

// Confirm does nothing for a version without a mark, and returns an error for an unknown dataset.
func TestConfirmWithoutProbation(t *testing.T) {
	w := newWorld(t)
	rec := w.publish("prices", 1)
	for _, dir := range []string{"", t.TempDir()} {
		cfg := w.config("prices")
		cfg.CacheDir = dir
		s := open(t, cfg)
		awaitVersion(t, s, "prices", 1)
		other := rec
		other.Version = 9
		if err := errors.Join(s.Confirm(rec), s.Confirm(rec), s.Confirm(other)); err != nil {
			t.Errorf("with the cache folder %q: %v", dir, err)
		}
		other.Dataset = "rules"
		if err := s.Confirm(other); !errors.Is(err, subscribe.ErrUnknownDataset) {
			t.Errorf("a dataset that is not subscribed to: %v", err)
		}
	}
}
