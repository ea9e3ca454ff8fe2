package table

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/proc"
)

// Main runs the measurement with the given command line and prints its table to out.
func Main(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("table", flag.ContinueOnError)
	records := flags.String("records", "1000000,10000000", "numbers of records, separated by commas")
	rounds := flags.Int("rounds", 15, "rounds of lookups; the median is printed")
	loads := flags.Int("loads", 5, "loads, each in its own process; the median is printed")
	part := flags.String("part", "", "used by the program itself: what a child process measures")
	dir := flags.String("dir", "", "used by the program itself: the folder of the files")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *part != "" {
		count, err := strconv.Atoi(*records)
		if err != nil {
			return err
		}
		return child(ctx, *part, filesIn(*dir, count), *rounds, out)
	}
	for text := range strings.SplitSeq(*records, ",") {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1 {
			return fmt.Errorf("%q is no number of records", text)
		}
		r, err := measure(ctx, count, *rounds, *loads)
		if err != nil {
			return err
		}
		if err := r.print(out); err != nil {
			return err
		}
	}
	return nil
}

// warmBytes is about the most memory a record that a part needs. It does not apply to lookups, which are not timed while they touch new
// memory.
const warmBytes = 400

// measure runs every part for count records.
func measure(ctx context.Context, count, rounds, loads int) (*result, error) {
	dir, err := os.MkdirTemp("", "freshet-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := filesIn(dir, count).make(); err != nil {
		return nil, fmt.Errorf("make the files: %w", err)
	}
	run := func(into any, part string) error {
		if err := proc.Warm(int64(count) * warmBytes); err != nil {
			return err
		}
		return proc.Child(ctx, into, "table", "-part", part, "-dir", dir, "-records", strconv.Itoa(count), "-rounds", strconv.Itoa(rounds))
	}
	r := &result{count: count, rounds: rounds, memory: make(map[string]memory)}
	for _, name := range append([]string{""}, names...) {
		var m memory
		if err := run(&m, "memory:"+name); err != nil {
			return nil, err
		}
		r.memory[name] = m
	}
	if err := run(&r.lookups, "lookups"); err != nil {
		return nil, err
	}
	for range loads {
		for part, into := range map[string]*[]load{"load": &r.loads, "load-small-pages": &r.smallPages} {
			var l load
			if err := run(&l, part); err != nil {
				return nil, err
			}
			*into = append(*into, l)
		}
	}
	if err := run(&r.json, "json"); err != nil {
		return nil, err
	}
	return r, run(&r.jsonKeys, "json-keys")
}

// child measures one part in this process and prints the result as JSON.
func child(ctx context.Context, part string, f files, rounds int, out io.Writer) error {
	var v any
	var err error
	kind, name, _ := strings.Cut(part, ":")
	switch kind {
	case "memory":
		v, err = measureMemory(ctx, name, f)
	case "lookups":
		v, err = measureLookups(ctx, f, rounds)
	case "load":
		v, err = measureLoad(ctx, f, table.Config{})
	case "load-small-pages":
		v, err = measureLoad(ctx, f, table.Config{NoHugePages: true})
	case "json":
		v, err = measureJSON(f, false)
	case "json-keys":
		v, err = measureJSON(f, true)
	default:
		err = fmt.Errorf("no part is called %q", part)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(v)
}
