package resp

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"freshet.dev/scripts/benchmarks/internal/markdown"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/runqueue"
	"freshet.dev/scripts/benchmarks/internal/system"
)

// clients is the number of connections of redis-benchmark.
const clients = 50

// test is a command of redis-benchmark.
type test struct {
	name     string
	pipeline int
	command  []string
	share    float64 // of the requests of a round with -P 1
	least    float64 // the goal: requests a second to those of redis-server; 0 if there is none
}

var tests = []test{
	{"GET -P 1", 1, []string{"GET", random}, 1, 0.95},
	{"GET -P 16", 16, []string{"GET", random}, 6, 1.2},
	{"MGET of 16, -P 1", 1, mget(16), 0.5, 0},
}

// random stands for a random key in a command of redis-benchmark.
const random = name + ":__rand_int__"

func mget(keys int) []string {
	command := []string{"MGET"}
	for range keys {
		command = append(command, random)
	}
	return command
}

// sample is one round of a test.
type sample struct {
	perSecond float64
	p50, p99  float64 // milliseconds, as redis-benchmark counts them
	cpu       float64 // microseconds of the server a request
}

// result has the samples of a configuration: by test, and by server.
type result struct {
	configuration
	samples [][2][]sample
}

// measure runs all rounds of a configuration. The servers take turns, and the one that begins alternates.
func (b *bench) measure(ctx context.Context, s *system.System, c configuration) (result, error) {
	r := result{configuration: c, samples: make([][2][]sample, len(tests))}
	both, err := b.startBoth(ctx, s, c)
	if err != nil {
		return r, errors.Join(err, both[0].stop(), both[1].stop())
	}
	for round := -1; round < b.rounds; round++ { // the first round warms up
		for i, t := range tests {
			for turn := range both {
				at := (turn + round + 1) % 2
				one, err := b.benchmark(ctx, both[at], c, t)
				if err != nil {
					return r, errors.Join(fmt.Errorf("%s: %s: %w", both[at].name, t.name, err), both[0].stop(), both[1].stop())
				}
				if round >= 0 {
					r.samples[i][at] = append(r.samples[i][at], one)
				}
			}
		}
	}
	return r, errors.Join(both[0].stop(), both[1].stop())
}

// benchmark runs redis-benchmark once.
func (b *bench) benchmark(ctx context.Context, s server, c configuration, t test) (sample, error) {
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return sample{}, err
	}
	requests := max(int(float64(b.requests)*t.share), clients*t.pipeline)
	args := []string{
		b.tool, "-h", host, "-p", port, "-c", strconv.Itoa(clients), "-n", strconv.Itoa(requests), "-r", strconv.Itoa(b.records),
		"-P", strconv.Itoa(t.pipeline), "--csv",
	}
	args = append(args, t.command...)
	if c.client != "" {
		args = append([]string{"taskset", "-c", c.client}, args...)
	}
	before, err := runqueue.CPU(s.process.PID())
	if err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return sample{}, fmt.Errorf("redis-benchmark: %w: %s", err, errs.String())
	}
	after, err := runqueue.CPU(s.process.PID())
	if err != nil {
		return sample{}, err
	}
	one, err := parse(out)
	if err != nil {
		return sample{}, fmt.Errorf("redis-benchmark: %w: %s%s", err, out, errs.String())
	}
	one.cpu = float64(after-before) / float64(time.Microsecond) / float64(requests)
	return one, nil
}

// parse reads the output of redis-benchmark --csv, whose first line has the names of the columns.
func parse(out []byte) (sample, error) {
	lines := csv.NewReader(strings.NewReader(string(out)))
	lines.FieldsPerRecord = -1
	all, err := lines.ReadAll()
	if err != nil || len(all) < 2 || len(all[0]) != len(all[1]) {
		return sample{}, fmt.Errorf("the output has no table: %w", err)
	}
	var s sample
	for _, f := range []struct {
		column string
		into   *float64
	}{{"rps", &s.perSecond}, {"p50_latency_ms", &s.p50}, {"p99_latency_ms", &s.p99}} {
		found := false
		for i, column := range all[0] {
			if column == f.column {
				found = true
				if *f.into, err = strconv.ParseFloat(all[1][i], 64); err != nil {
					return sample{}, err
				}
			}
		}
		if !found {
			return sample{}, fmt.Errorf("the output has no column %s", f.column)
		}
	}
	return s, nil
}

// median returns the median of a value of the samples.
func median(all []sample, value func(sample) float64) float64 {
	values := make([]float64, len(all))
	for i, s := range all {
		values[i] = value(s)
	}
	return proc.Median(values)
}

func perSecond(s sample) float64 { return s.perSecond }

// ratio returns the median of the ratios of each round, freshet-server to redis-server.
func (r result) ratio(test int, value func(sample) float64) float64 {
	redis, freshet := r.samples[test][0], r.samples[test][1]
	ratios := make([]float64, len(redis))
	for i := range redis {
		ratios[i] = value(freshet[i]) / max(value(redis[i]), 1e-9)
	}
	return proc.Median(ratios)
}

func (r result) print(out io.Writer) error {
	header := []string{
		"", "redis-server, requests/s", "freshet-server, requests/s", "ratio", "p50 / p99 ms", "freshet's p50 / p99 ms",
		"CPU us a request", "freshet's CPU us a request", "ratio of CPU",
	}
	var cells [][]string
	cpu := func(s sample) float64 { return s.cpu }
	for i, t := range tests {
		redis, freshet := r.samples[i][0], r.samples[i][1]
		latency := func(all []sample) string {
			return fmt.Sprintf("%.3f / %.3f", median(all, func(s sample) float64 { return s.p50 }), median(all, func(s sample) float64 { return s.p99 }))
		}
		cells = append(cells, []string{
			t.name, markdown.Number(median(redis, perSecond)), markdown.Number(median(freshet, perSecond)), markdown.Number(r.ratio(i, perSecond)),
			latency(redis), latency(freshet), markdown.Number(median(redis, cpu)), markdown.Number(median(freshet, cpu)), markdown.Number(r.ratio(i, cpu)),
		})
	}
	return markdown.Table(out, "redis-benchmark, "+r.name, header, cells)
}

// printGoals judges each goal in each configuration; a goal must be met in one of them.
func printGoals(out io.Writer, results []result) error {
	var cells [][]string
	for i, t := range tests {
		if t.least == 0 {
			continue
		}
		row := []string{t.name}
		for _, r := range results {
			row = append(row, markdown.GoalAtLeast(t.least, r.ratio(i, perSecond)))
		}
		cells = append(cells, row)
	}
	header := []string{"requests to those of redis-server"}
	for _, r := range results {
		header = append(header, r.name)
	}
	return markdown.Table(out, "Goals, each of them in one configuration", header, cells)
}
