package memory

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest/footprint"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/scripts/benchmarks/internal/control"
	"freshet.dev/scripts/benchmarks/internal/feed"
	"freshet.dev/scripts/benchmarks/internal/gomap"
	"freshet.dev/scripts/benchmarks/internal/markdown"
	"freshet.dev/scripts/benchmarks/internal/openloop"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
	"freshet.dev/scripts/benchmarks/internal/system"
)

// name is the dataset's.
const name = "bench"

// options are the command line.
type options struct {
	deltas      int
	rate        float64
	connections int
	temp        string
	force       bool
}

// bench is one run.
type bench struct {
	options
	out io.Writer
}

// Main runs the measurement with the given command line and prints its tables to out.
func Main(ctx context.Context, args []string, out io.Writer) error {
	b := &bench{out: out}
	flags := flag.NewFlagSet("memory", flag.ContinueOnError)
	records := flags.String("records", "1000000,10000000", "numbers of records, separated by commas")
	flags.IntVar(&b.deltas, "deltas", 100, "deltas of 1 % after the load")
	flags.Float64Var(&b.rate, "rate", 2_000, "lookups a second over HTTP during the deltas")
	flags.IntVar(&b.connections, "connections", 4, "connections of the lookups")
	flags.BoolVar(&b.force, "force", false, "measure even if the estimates exceed the free memory or disk")
	flags.StringVar(&b.temp, "temp", "", "folder for the files; default: the system's")
	part := flags.String("part", "", "used by the program itself: what a child process does")
	config := flags.String("config", "", "used by the program itself: the configuration of the child process")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	switch *part {
	case "":
	case "gomap":
		return gomap.Main(ctx, *config, os.Stdin, out)
	case "generate":
		return openloop.GeneratorMain(ctx, *config, out)
	default:
		return fmt.Errorf("no part is called %q", *part)
	}
	start := time.Now()
	for text := range strings.SplitSeq(*records, ",") {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1000 {
			return fmt.Errorf("%q is no number of records; give 1000 at least", text)
		}
		if err := b.measure(ctx, count); err != nil {
			return fmt.Errorf("%d records: %w", count, err)
		}
	}
	fmt.Fprintf(out, "\nThe whole run took %s.\n", time.Since(start).Round(time.Second))
	return nil
}

// halfRing is the number of deltas after which the feeder has a snapshot.
const halfRing = 10

// measure measures one number of records. Its files are in a folder that it removes.
func (b *bench) measure(ctx context.Context, count int) (err error) {
	folder, err := os.MkdirTemp(b.temp, "freshet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if ok, err := b.estimate(folder, count); err != nil || !ok {
		return err
	}
	server, err := b.measureServer(ctx, folder, count)
	if err != nil {
		return err
	}
	alternative, err := b.measureMap(ctx, folder, count)
	if err != nil {
		return fmt.Errorf("the Go map: %w", err)
	}
	return b.print(count, server, alternative)
}

// usage is the memory of a process in bytes at one time: what is resident, and the kernel's peak so far.
type usage struct {
	resident int64
	peak     footprint.Peak
}

// stages are the usages of a process.
type stages struct {
	loaded, refreshed, reloaded usage
	// deltas and fulls are the refreshes, lookups those that found their record during them.
	deltas, fulls uint64
	lookups, lost int64
	p99           time.Duration
}

func usageOf(pid int, peak func() (footprint.Peak, error)) (u usage, err error) {
	if u.resident, err = proc.ResidentOf(pid); err == nil {
		u.peak, err = peak()
	}
	return u, err
}

func (b *bench) measureServer(ctx context.Context, folder string, count int) (is stages, err error) {
	ring, err := feed.NewRing(folder, count, halfRing)
	if err != nil {
		return is, fmt.Errorf("make the versions: %w", err)
	}
	url := "dir://" + filepath.Join(folder, "store")
	st, err := storeurl.Open(ctx, url)
	if err != nil {
		return is, err
	}
	defer st.Close()
	err = system.RunWithoutPublisher(ctx, folder, url, func(s *system.System) error {
		f, err := feed.Open(ctx, st, s.NATS, name, ring)
		if err != nil {
			return err
		}
		defer f.Close()
		meter := footprint.New()
		url, process := s.Measured(meter, "", "NATS_URL="+s.NATS, "REDIS_URL="+s.Redis, "RELAYS="+s.Relay, "DATASETS="+name,
			"CACHE_DIR="+s.TempDir(), "INSTANCE=memory")
		if err := f.Served(ctx); err != nil {
			return err
		}
		if is.loaded, err = usageOf(process.PID(), meter.Peak); err != nil {
			return err
		}
		g := openloop.Generator{Addr: strings.TrimPrefix(url, "http://"), Path: "/v1/datasets/" + name + "/records/", Records: count}
		if err := b.underLookups(ctx, g, &is, func() error { return repeat(b.deltas, func() error { return b.deltaServed(ctx, f) }) }); err != nil {
			return err
		}
		if is.refreshed, err = usageOf(process.PID(), meter.Peak); err != nil {
			return err
		}
		refreshes, err := status(ctx, url)
		is.deltas = refreshes.Delta
		if err == nil {
			err = f.Full(ctx)
		}
		if err == nil {
			err = f.Served(ctx)
		}
		if err != nil {
			return err
		}
		is.reloaded, err = usageOf(process.PID(), meter.Peak)
		is.fulls = refreshes.Full
		return err
	})
	return is, err
}

func repeat(n int, f func() error) error {
	for range n {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) deltaServed(ctx context.Context, f *feed.Feeder) error {
	if err := f.Delta(ctx); err != nil {
		return err
	}
	return f.Served(ctx)
}

// aLookupRun is the length of one run of the generator; runs follow each other until the refreshes are done.
const aLookupRun = 5 * time.Second

// underLookups calls refresh while lookups go on.
func (b *bench) underLookups(ctx context.Context, g openloop.Generator, is *stages, refresh func() error) error {
	g.Connections, g.Rate, g.For = b.connections, b.rate, aLookupRun
	refreshed := make(chan error, 1)
	go func() { refreshed <- refresh() }()
	all := openloop.NewLatencies()
	for {
		l, err := g.Start(ctx, "memory", "-part", "generate")
		if err != nil {
			return errors.Join(err, <-refreshed)
		}
		all.Add(l.Latencies)
		is.lookups += l.Statuses[http.StatusOK]
		is.lost += l.Latencies.TotalCount() - l.Statuses[http.StatusOK]
		is.p99 = all.Quantile(99)
		select {
		case err := <-refreshed:
			return err
		default:
		}
	}
}

func status(ctx context.Context, url string) (fleet.Refreshes, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/status", nil)
	if err != nil {
		return fleet.Refreshes{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fleet.Refreshes{}, err
	}
	defer resp.Body.Close()
	var s fleet.Status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || len(s.Datasets) != 1 {
		return fleet.Refreshes{}, fmt.Errorf("the status has %d datasets: %w", len(s.Datasets), err)
	}
	return s.Datasets[0].Refreshes, nil
}

// measureMap measures the Go map: its updates change records in place, which takes the least memory that a map can need.
func (b *bench) measureMap(ctx context.Context, folder string, count int) (is stages, err error) {
	file, err := gomap.WriteFile(folder, count)
	if err != nil {
		return is, err
	}
	p, err := control.Start(ctx, nil, "memory", "-part", "gomap", "-config", file)
	if err != nil {
		return is, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	var r gomap.Result
	if err := p.Call(gomap.Command{Do: "load"}, &r); err != nil {
		return is, err
	}
	if is.loaded, err = usageOf(p.PID(), p.Peak); err != nil {
		return is, err
	}
	generation := 0
	g := openloop.Generator{Addr: r.Addr, Path: gomap.Path, Records: count}
	err = b.underLookups(ctx, g, &is, func() error {
		return repeat(b.deltas, func() error {
			generation++
			return p.Call(gomap.Command{Do: "update", Generation: generation}, &r)
		})
	})
	if err != nil {
		return is, err
	}
	is.deltas = uint64(generation)
	if is.refreshed, err = usageOf(p.PID(), p.Peak); err != nil {
		return is, err
	}
	if err := p.Call(gomap.Command{Do: "load"}, &r); err != nil {
		return is, err
	}
	is.fulls = 1
	is.reloaded, err = usageOf(p.PID(), p.Peak)
	return is, err
}

func (b *bench) print(count int, server, alternative stages) error {
	payload := int64(count) * rows.PayloadBytes
	row := func(what string, of func(stages) usage) [][]string {
		s, m := of(server), of(alternative)
		cells := func(name string, a, b int64) []string {
			return []string{
				what + ", " + name, markdown.MB(a), markdown.MB(b), markdown.Number(float64(a) / float64(b)),
				markdown.Number(float64(a) / float64(payload)), markdown.Number(float64(b) / float64(payload)),
			}
		}
		return [][]string{cells("resident", s.resident, m.resident), cells("peak so far", s.peak.Bytes, m.peak.Bytes)}
	}
	var cells [][]string
	cells = append(cells, row("after the load", func(s stages) usage { return s.loaded })...)
	cells = append(cells, row(fmt.Sprintf("after %d deltas of 1 %% under lookups", b.deltas), func(s stages) usage { return s.refreshed })...)
	cells = append(cells, row("after one full reload more", func(s stages) usage { return s.reloaded })...)
	title := fmt.Sprintf("Memory, %d records of %d bytes", count, rows.PayloadBytes)
	header := []string{"", "freshet-server MB", "Go map MB", "ratio", "freshet-server, times the payload", "Go map, times the payload"}
	if err := markdown.Table(b.out, title, header, cells); err != nil {
		return err
	}
	_, err := fmt.Fprintf(b.out, "\nPeaks: %s. freshet-server refreshed by %d deltas, with %d lookups (%d without a record), p99 %s us; the map was updated %d times in place, with %d lookups (%d without a record), p99 %s us.\n",
		server.loaded.peak.How, server.deltas, server.lookups, server.lost, markdown.Micro(server.p99),
		alternative.deltas, alternative.lookups, alternative.lost, markdown.Micro(alternative.p99))
	return err
}
