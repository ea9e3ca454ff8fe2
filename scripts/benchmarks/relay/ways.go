package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"freshet.dev/pkg/servertest/footprint"
	"freshet.dev/scripts/benchmarks/internal/proc"
)

// pagesCommit is the last commit whose relay sends pages through pipes (vmsplice, splice). The comparison builds that relay from
// the repository's history.
const pagesCommit = "03452885cba9"

// pagesControl replaces that relay's choice of congestion control, so that both relays have the same one.
const pagesControl = `package wire

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func (s *Sockets) Control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, os.Getenv("BENCH_CONGESTION"))
	})
}

func (s *Sockets) pace(*net.TCPConn) {}
`

// The comparison's sizes. Pages have the largest advantage with an object that fits into the cache.
const (
	waysObject, waysBudget = 256 << 20, 320 << 20
	stopBudget             = 32 << 20
	stopClients            = 1000
	stopAfter              = 4 << 20
	stopHold               = 2 * time.Second
)

// ways are the two ways of writing: pages through pipes, and plain writes.
type ways[T any] struct{ pages, writes T }

// measureWays compares pages through pipes with plain writes.
func (o options) measureWays(ctx context.Context, folder, program string, out io.Writer) error {
	if o.ab == "" {
		return nil
	}
	clients, err := parseClients(o.ab)
	if err != nil {
		return err
	}
	programs := ways[string]{pages: filepath.Join(folder, "freshet-relay-pages"), writes: program}
	if err := buildPages(ctx, folder, programs.pages); err != nil {
		fmt.Fprintf(out, "pages through pipes are not compared: %v\n", err)
		return nil
	}
	obj, err := makeObject(ctx, folder, waysObject)
	if err != nil {
		return err
	}
	defer os.RemoveAll(obj.folder)
	fmt.Fprintf(out, "pages through pipes (the relay of commit %s) against plain writes: object of %d MiB, cache of %d MiB; at the end %d clients that read %d MiB and stop, cache of %d MiB\n",
		pagesCommit, waysObject>>20, waysBudget>>20, stopClients, stopAfter>>20, stopBudget>>20)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "congestion\tclients\tpages GB/s\twrites GB/s\tpages/writes\tpeak MiB: pages\twrites\tallowed\t")
	var how string
	for _, control := range congestionControls() {
		for _, n := range clients {
			rates, peaks, err := o.compareWays(ctx, programs, obj, control, n)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%d\t%d\t%d\t\n", control, n, rates.pages/1e9, rates.writes/1e9, rates.pages/rates.writes,
				peaks.pages.Bytes>>20, peaks.writes.Bytes>>20, (waysBudget+overhead+n*sendBytes)>>20)
		}
		peaks, err := compareStops(ctx, programs, obj, control)
		if err != nil {
			return err
		}
		how = peaks.writes.How
		fmt.Fprintf(w, "%s\t%d stop\t\t\t\t%d\t%d\t%d\t\n", control, stopClients, peaks.pages.Bytes>>20, peaks.writes.Bytes>>20,
			(stopBudget+overhead+stopClients*sendBytes)>>20)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "peaks by %s\n", how)
	return err
}

// congestionControls returns those of BBR and Reno that this system allows.
func congestionControls() (names []string) {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
	allowed := strings.Fields(string(text))
	for _, name := range []string{"bbr", "reno"} {
		if slices.Contains(allowed, name) {
			names = append(names, name)
		}
	}
	return names
}

// buildPages builds the relay of pagesCommit.
func buildPages(ctx context.Context, folder, program string) error {
	source := filepath.Join(folder, "pages")
	if err := os.Mkdir(source, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(source)
	archive := exec.CommandContext(ctx, "git", "archive", pagesCommit, "pkg", "services")
	extract := exec.CommandContext(ctx, "tar", "-x", "-C", source)
	var text bytes.Buffer
	archive.Stderr, extract.Stderr = &text, &text
	pipe, err := archive.StdoutPipe()
	if err != nil {
		return err
	}
	extract.Stdin = pipe
	if err := archive.Start(); err != nil {
		return err
	}
	failed := extract.Run()
	if err := archive.Wait(); err != nil || failed != nil {
		return fmt.Errorf("git archive %s, which needs the repository's whole history: %s", pagesCommit, bytes.TrimSpace(text.Bytes()))
	}
	services := filepath.Join(source, "services")
	if err := os.WriteFile(filepath.Join(services, "relay/internal/wire/congestion_linux.go"), []byte(pagesControl), 0o600); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "./relay/cmd/freshet-relay")
	build.Dir, build.Env = services, append(os.Environ(), "GOWORK=off")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the relay of commit %s: %w: %s", pagesCommit, err, text)
	}
	return nil
}

// startWays starts both relays.
func startWays(ctx context.Context, programs ways[string], obj object, budget int64, control string) (ways[*server], error) {
	pages, err := startRelay(ctx, programs.pages, obj, budget, "BENCH_CONGESTION="+control)
	if err != nil {
		return ways[*server]{}, err
	}
	writes, err := startRelay(ctx, programs.writes, obj, budget, "FRESHET_RELAY_CONGESTION="+control)
	if err != nil {
		pages.stop()
	}
	return ways[*server]{pages, writes}, err
}

// compareWays measures throughput and peak of both relays, alternately.
func (o options) compareWays(ctx context.Context, programs ways[string], obj object, control string, clients int) (rates ways[float64], peaks ways[footprint.Peak], err error) {
	relays, err := startWays(ctx, programs, obj, waysBudget, control)
	if err != nil {
		return rates, peaks, err
	}
	defer relays.pages.stop()
	defer relays.writes.stop()
	pulls := swarm{Bytes: obj.bytes, Clients: clients, Window: o.abWindow}
	var all ways[[]float64]
	for range o.rounds {
		a, err := pulls.against(ctx, relays.pages)
		if err != nil {
			return rates, peaks, err
		}
		b, err := pulls.against(ctx, relays.writes)
		if err != nil {
			return rates, peaks, err
		}
		all.pages, all.writes = append(all.pages, a.perSecond()), append(all.writes, b.perSecond())
	}
	rates.pages, rates.writes = proc.Median(all.pages), proc.Median(all.writes)
	peaks, err = peaksOf(relays)
	return rates, peaks, err
}

// compareStops measures the peak of both relays under clients that stop reading.
func compareStops(ctx context.Context, programs ways[string], obj object, control string) (ways[footprint.Peak], error) {
	relays, err := startWays(ctx, programs, obj, stopBudget, control)
	if err != nil {
		return ways[footprint.Peak]{}, err
	}
	defer relays.pages.stop()
	defer relays.writes.stop()
	stops := swarm{Bytes: obj.bytes, Clients: stopClients, Stop: stopAfter, Hold: stopHold}
	for _, s := range []*server{relays.pages, relays.writes} {
		if _, err := stops.against(ctx, s); err != nil {
			return ways[footprint.Peak]{}, err
		}
	}
	return peaksOf(relays)
}

func peaksOf(relays ways[*server]) (peaks ways[footprint.Peak], err error) {
	if peaks.pages, err = relays.pages.meter.Peak(); err != nil {
		return peaks, err
	}
	peaks.writes, err = relays.writes.meter.Peak()
	return peaks, err
}
