package delta

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"freshet.dev/scripts/benchmarks/internal/proc"
)

// bench is one run.
type bench struct {
	folder   string
	counts   []int
	rounds   int
	versions int            // versions of a burst
	data     map[int]string // names of the files' descriptions, by number of records
	report
}

// shows are the parts of a run in order.
var shows = []struct {
	name string
	show func(*bench, context.Context) error
}{
	{"refresh", (*bench).showRefresh},
	{"profile", (*bench).showProfile},
	{"lookups", (*bench).showLookups},
	{"cities", (*bench).showCities},
	{"burst", (*bench).showBurst},
	{"patch", (*bench).showPatch},
	{"undo", (*bench).showUndo},
}

// Main runs the measurement with the given command line and prints its tables to out. It returns an error if a bound is missed or the
// measurement fails.
func Main(ctx context.Context, args []string, out io.Writer) error {
	var names []string
	for _, s := range shows {
		names = append(names, s.name)
	}
	flags := flag.NewFlagSet("delta", flag.ContinueOnError)
	records := flags.String("records", "1000000,10000000", "numbers of records, separated by commas")
	rounds := flags.Int("rounds", 11, "rounds of each measurement; the median is printed")
	versions := flags.Int("versions", 1000, "versions of the burst")
	only := flags.String("only", strings.Join(names, ","), "what to measure")
	temp := flags.String("temp", "", "folder for the files, which take about 150 bytes a record; default: the system's")
	part := flags.String("part", "", "used by the program itself: what a child process measures")
	file := flags.String("data", "", "used by the program itself: the file that describes the data, or a folder")
	nats := flags.String("nats", "", "used by the program itself: the URL of NATS")
	relay := flags.String("relay", "", "used by the program itself: the URL of the relay")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *part != "" {
		v, err := child(ctx, *part, where{*file, *nats, *relay}, *rounds, *versions)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(v)
	}

	b := &bench{rounds: *rounds, versions: *versions, data: make(map[int]string), report: report{out: out}}
	for text := range strings.SplitSeq(*records, ",") {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1000 {
			return fmt.Errorf("%q is no number of records; give 1000 at least", text)
		}
		b.counts = append(b.counts, count)
	}
	wanted := strings.Split(*only, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%q is nothing to measure; there is %s", name, strings.Join(names, ", "))
		}
	}
	var err error
	if b.folder, err = os.MkdirTemp(*temp, "freshet-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.folder)
	if err := b.make(wanted); err != nil {
		return fmt.Errorf("make the files: %w", err)
	}
	for _, s := range shows {
		if slices.Contains(wanted, s.name) {
			if err := s.show(b, ctx); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return b.err()
}

// make writes the files that the parts need.
func (b *bench) make(wanted []string) error {
	for _, count := range b.counts {
		chain := slices.Contains(wanted, "lookups") || slices.Contains(wanted, "refresh")
		path, err := makeData(b.folder, count, chain)
		if err != nil {
			return err
		}
		b.data[count] = path
	}
	return nil
}

// warmBytes is about the most memory a record that a part needs.
const warmBytes = 400

// measure runs a part for count records in its own process.
func (b *bench) measure(ctx context.Context, into any, count int, part string) error {
	if err := proc.Warm(int64(count) * warmBytes); err != nil {
		return err
	}
	return proc.Child(ctx, into, "delta", "-part", part, "-data", b.data[count], "-rounds", strconv.Itoa(b.rounds))
}

// where names the files of a child process.
type where struct{ path, nats, relay string }

// child measures one part in this process.
func child(ctx context.Context, part string, at where, rounds, versions int) (any, error) {
	kind, detail, _ := strings.Cut(part, ":")
	number, _ := strconv.Atoi(detail) // 0 for a part without a number
	if kind == "burst" {
		return measureBurst(ctx, at.nats, at.relay, at.path, lastVersion(versions))
	}
	d, err := readData(at.path)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "times":
		return measureTimes(ctx, d, rounds)
	case "map":
		return measureMap(d.Records, detail)
	case "memory":
		return measureMemory(ctx, d.Base, d.Single[number][:1])
	case "chain":
		return measureMemory(ctx, d.Base, d.Chain)
	case "worn-first", "fresh-first":
		return measureLookups(ctx, d.Base, d.Fresh[number], d.Chain[:depths[number]], kind == "fresh-first", rounds)
	case "profile":
		return profile(ctx, d, profileFor)
	}
	return nil, fmt.Errorf("no part is called %q", part)
}
