// Command bench measures the design's performance goals. Each subcommand prints its tables:
//
//	scripts/bench table      lookups, memory, collection and load against other tables
//	scripts/bench publish    memory of publishing and of loading a large file
//	scripts/bench delta      the cost of refreshes by deltas, with the bounds of the design
//	scripts/bench latency    lookups while an instance refreshes, scans, and has a surge of scans
//	scripts/bench memory     memory of an instance after its load and after many deltas
//	scripts/bench relay      a relay under a storm of clients, compared with nginx; 200 instances that start at once
//	scripts/bench resp       Redis' protocol, compared with redis-server
//
// The numbers are medians of interleaved rounds. Close other programs first. "-h" after a subcommand lists its flags.
package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"

	"freshet.dev/scripts/benchmarks/delta"
	"freshet.dev/scripts/benchmarks/latency"
	"freshet.dev/scripts/benchmarks/memory"
	"freshet.dev/scripts/benchmarks/publish"
	"freshet.dev/scripts/benchmarks/relay"
	"freshet.dev/scripts/benchmarks/resp"
	"freshet.dev/scripts/benchmarks/table"
)

// commands are the subcommands by name.
var commands = map[string]func(ctx context.Context, args []string, out io.Writer) error{
	"delta":   delta.Main,
	"latency": latency.Main,
	"memory":  memory.Main,
	"publish": publish.Main,
	"relay":   relay.Main,
	"resp":    resp.Main,
	"table":   table.Main,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: bench %s [flags]\n", strings.Join(slices.Sorted(maps.Keys(commands)), "|"))
		os.Exit(2)
	}
	if err := commands[os.Args[1]](ctx, os.Args[2:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
