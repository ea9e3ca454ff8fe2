package table

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// result holds all measurements for one number of records.
type result struct {
	count, rounds int
	memory        map[string]memory // by alternative; "" is a process without an alternative
	lookups       lookupTimes
	loads         []load
	smallPages    []load
	json          load
	jsonKeys      load
}

// print writes the tables. Ratios are relative to the Go map; below 1 is better.
func (r *result) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	per := func(n int64) float64 { return float64(n) / float64(r.count) }
	ratio := func(a, b float64) string { return fmt.Sprintf("%.0f (%.2f)", a, a/b) }

	fmt.Fprintf(out, "%d records of %d payload bytes, medians of %d rounds, (ratio to the Go map)\n", r.count, rows.PayloadBytes, r.rounds)
	fmt.Fprintln(w, "\thit ns\thit and read ns\tmiss ns\tresident B/record\theap B/record\truntime.GC() ms\t")
	for _, name := range append([]string{names[0], "many"}, names[1:]...) {
		l := r.lookups
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t", label(name), ratio(l.Hit[name], l.Hit["map"]), ratio(l.Read[name], l.Read["map"]), ratio(l.Miss[name], l.Miss["map"]))
		m, ok := r.memory[name]
		if !ok {
			fmt.Fprintln(w, "\t\t\t")
			continue
		}
		base := r.memory["map"]
		fmt.Fprintf(w, "%s\t%s\t%.2f (%.4f)\t\n", ratio(per(m.Resident), per(base.Resident)), ratio(per(m.Heap), per(base.Heap)),
			float64(m.Collection)/1e6, float64(m.Collection)/float64(base.Collection))
	}
	fmt.Fprintf(w, "nothing\t\t\t\t\t\t%.2f\t\n", float64(r.memory[""].Collection)/1e6)
	if err := w.Flush(); err != nil {
		return err
	}

	fmt.Fprintln(w, "\tload ms\tJSON takes\tMB in\tpeak B/record\tof payload+30\ttable B/record\t")
	ours, small := middle(r.loads), middle(r.smallPages)
	for _, row := range []struct {
		name string
		l    load
	}{
		{"freshet", ours},
		{"freshet, 4 KiB pages", small},
		{"json.Unmarshal to structs", r.json},
		{"json.Unmarshal of the key", r.jsonKeys},
	} {
		fmt.Fprintf(w, "%s\t%.0f\t%.1f x\t%.0f\t%.0f\t%.2f\t%.1f\t\n", row.name, time.Duration(row.l.Nanoseconds).Seconds()*1e3,
			float64(r.json.Nanoseconds)/float64(row.l.Nanoseconds), float64(row.l.FileBytes)/1e6,
			per(row.l.PeakResident), per(row.l.PeakResident)/(rows.PayloadBytes+30), per(row.l.TableBytes))
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// middle returns the medians of time and peak.
func middle(loads []load) load {
	m := loads[0]
	var times, peaks []int64
	for _, l := range loads {
		times, peaks = append(times, l.Nanoseconds), append(peaks, l.PeakResident)
	}
	m.Nanoseconds, m.PeakResident = proc.Median(times), proc.Median(peaks)
	return m
}

func label(name string) string {
	if name == "many" {
		return fmt.Sprintf("freshet, GetMany of %d", manyKeys)
	}
	return name
}
