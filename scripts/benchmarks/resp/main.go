package resp

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"freshet.dev/scripts/benchmarks/internal/system"
)

// name is the dataset's. The key k of the dataset is the key d:k in both servers.
const name = "d"

// options are the command line.
type options struct {
	records  int
	rounds   int
	requests int
	calls    int
	temp     string
	modules  string
}

// bench is one run.
type bench struct {
	options
	out    io.Writer
	folder string
	tool   string // redis-benchmark
	notes  []string
}

// Main runs the measurement with the given command line and prints its tables to out.
func Main(ctx context.Context, args []string, out io.Writer) error {
	b := &bench{out: out}
	flags := flag.NewFlagSet("resp", flag.ContinueOnError)
	flags.IntVar(&b.records, "records", 100_000, "records, of 12-byte keys and 100-byte values")
	flags.IntVar(&b.rounds, "rounds", 5, "rounds of redis-benchmark; the medians are printed")
	flags.IntVar(&b.requests, "requests", 150_000, "requests of a round with -P 1; with -P 16 it is 6 times as many")
	flags.IntVar(&b.calls, "calls", 20_000, "lookups of each client in Python and Node")
	flags.StringVar(&b.temp, "temp", "", "folder for the files; default: the system's")
	flags.StringVar(&b.modules, "node-modules", "dist/npm/node_modules", "folder with npm's redis for the client in Node")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	var err error
	if b.tool, err = exec.LookPath("redis-benchmark"); err != nil {
		return fmt.Errorf("%w; on Debian and Ubuntu: apt-get install redis-tools", err)
	}
	if b.modules, err = filepath.Abs(b.modules); err != nil {
		return err
	}
	if b.folder, err = os.MkdirTemp(b.temp, "freshet-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.folder)
	start := time.Now()
	if err := b.run(ctx); err != nil {
		return err
	}
	for _, note := range b.notes {
		fmt.Fprintf(out, "\n%s\n", note)
	}
	fmt.Fprintf(out, "\nThe whole run took %s.\n", time.Since(start).Round(time.Second))
	return nil
}

func (b *bench) run(ctx context.Context) error {
	data, err := b.writeRecords()
	if err != nil {
		return err
	}
	return system.Run(ctx, b.folder, "dir://"+filepath.Join(b.folder, "store"), func(s *system.System) error {
		if err := publish(ctx, s.Publisher, data); err != nil {
			return err
		}
		var results []result
		for _, p := range processors {
			r, err := b.measure(ctx, s, p)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			results = append(results, r)
		}
		fmt.Fprintf(b.out, "# Redis' protocol: freshet-server and redis-server\n\n%d records of %d bytes, %d processors, redis-benchmark with %d clients, medians of %d rounds. %s\n",
			b.records, keyBytes+valueBytes, runtime.NumCPU(), clients, b.rounds, version(ctx, "redis-server"))
		for _, r := range results {
			if err := r.print(b.out); err != nil {
				return err
			}
		}
		if err := printGoals(b.out, results); err != nil {
			return err
		}
		return b.measureClients(ctx, s)
	})
}

// version returns the first line of what the program says about its version.
func version(ctx context.Context, program string) string {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return program + ": " + err.Error()
	}
	return strings.TrimSpace(string(out))
}
