package latency

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/scripts/benchmarks/internal/feed"
	"freshet.dev/scripts/benchmarks/internal/gomap"
	"freshet.dev/scripts/benchmarks/internal/openloop"
	"freshet.dev/scripts/benchmarks/internal/system"
)

// name is the dataset's.
const name = "bench"

// options are the command line.
type options struct {
	records     int
	rounds      int
	window      time.Duration
	rate        float64
	httpRate    float64
	connections int
	requests    int
	filter      string
	surge       time.Duration
	temp        string

	part, config string // what a child process does
}

// warmUp is how long a load goes on before lookups count.
const warmUp = time.Second

// bench is one run.
type bench struct {
	options
	out     io.Writer
	folder  string
	rows    string // the file of the Go map
	system  *system.System
	feeder  *feed.Feeder
	surges  []surged
	notes   []string
	tables  []table
	scanned string // why the server does not scan; empty if it does
}

// Main runs the measurement with the given command line and prints its tables to out.
func Main(ctx context.Context, args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("latency", flag.ContinueOnError)
	flags.IntVar(&o.records, "records", 1_000_000, "records of the dataset")
	flags.IntVar(&o.rounds, "rounds", 2, "rounds over the loads; the latencies of a load are those of all its rounds")
	flags.DurationVar(&o.window, "window", 8*time.Second, "length of a measurement of one load in a round")
	flags.Float64Var(&o.rate, "rate", 10_000, "lookups a second in process")
	flags.Float64Var(&o.httpRate, "http-rate", 0, "lookups a second over HTTP; 0 means half of what the server answers when it is idle")
	flags.IntVar(&o.connections, "connections", 16, "connections of the lookups over HTTP")
	flags.IntVar(&o.requests, "requests", 8, "scans that are sent at a time to saturate the CPU lane")
	flags.StringVar(&o.filter, "filter", "value.price > 999.8", "filter of the scans over HTTP, a CEL expression over key and value that only few records match")
	flags.DurationVar(&o.surge, "surge", 30*time.Second, "length of the surge; 0 leaves it out")
	flags.StringVar(&o.temp, "temp", "", "folder for the files, which take about 200 bytes a record; default: the system's")
	flags.StringVar(&o.part, "part", "", "used by the program itself: what a child process does")
	flags.StringVar(&o.config, "config", "", "used by the program itself: the configuration of the child process")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	switch o.part {
	case "":
		b := &bench{options: o, out: out}
		return b.run(ctx)
	case "embed":
		var cfg embedConfig
		if err := json.Unmarshal([]byte(o.config), &cfg); err != nil {
			return err
		}
		return embedMain(ctx, cfg, os.Stdin, out)
	case "gomap":
		return gomap.Main(ctx, o.config, os.Stdin, out)
	case "generate":
		return openloop.GeneratorMain(ctx, o.config, out)
	}
	return fmt.Errorf("no part is called %q", o.part)
}

// halfRing is the number of deltas after which the feeder has a snapshot.
const halfRing = 25

func (b *bench) run(ctx context.Context) (err error) {
	if b.folder, err = os.MkdirTemp(b.temp, "freshet-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.folder)
	start := time.Now()
	ring, err := feed.NewRing(b.folder, b.records, halfRing)
	if err != nil {
		return fmt.Errorf("make the versions: %w", err)
	}
	if b.rows, err = gomap.WriteFile(b.folder, b.records); err != nil {
		return fmt.Errorf("write the records of the Go map: %w", err)
	}
	url := "dir://" + filepath.Join(b.folder, "store")
	st, err := storeurl.Open(ctx, url)
	if err != nil {
		return err
	}
	defer st.Close()
	fmt.Fprintf(b.out, "# Latencies of lookups under load\n\n%d records; a delta changes 1 %%; %d processors, GOMAXPROCS %d; %d rounds of %s a load. ",
		b.records, runtime.NumCPU(), runtime.GOMAXPROCS(0), b.rounds, b.window)
	fmt.Fprintf(b.out, "Latencies count from the time at which a lookup was to be sent.\n")
	if runtime.GOMAXPROCS(0) != 2 {
		fmt.Fprintln(b.out, "The goals are for two processors: scripts/bench gives the benchmark two.")
	}
	err = system.RunWithoutPublisher(ctx, b.folder, url, func(s *system.System) error {
		b.system = s
		if b.feeder, err = feed.Open(ctx, st, s.NATS, name, ring); err != nil {
			return err
		}
		defer b.feeder.Close()
		for _, phase := range []func(context.Context) error{b.inProcess, b.overHTTP, b.baselines} {
			if err := phase(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.print(); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\nThe whole run took %s.\n", time.Since(start).Round(time.Second))
	return nil
}
