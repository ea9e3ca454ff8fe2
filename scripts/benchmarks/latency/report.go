package latency

import (
	"fmt"
	"strings"
	"time"

	"freshet.dev/scripts/benchmarks/internal/markdown"
	"freshet.dev/scripts/benchmarks/internal/openloop"
)

// The goals of issue 14.
const (
	mostRatio = 2.0                   // of p99 to idle
	fineP99   = 20 * time.Microsecond // below it, the ratio in process does not count
)

// table are the results of one kind of lookups. The first column is idle.
type table struct {
	title   string
	columns []column
	// instance is true for freshet, which has goals, and false for a baseline.
	instance, inProcess bool
}

func (b *bench) print() error {
	for _, t := range b.tables {
		if err := t.print(b); err != nil {
			return err
		}
	}
	if err := b.printRatios(); err != nil {
		return err
	}
	if err := b.printSurges(); err != nil {
		return err
	}
	for _, note := range b.notes {
		fmt.Fprintf(b.out, "\n%s\n", note)
	}
	fmt.Fprint(b.out, "\n\"Threads waited\" is the time that the threads of the process were ready to run and had no processor, all together, in each second "+
		"(/proc/PID/task/*/schedstat). \"Machine\" is the part of each second in which any thread of the machine was in that state (/proc/pressure/cpu). "+
		"A machine on which other programs run makes both larger, and with them the latencies: then only ratios between columns of one run tell anything.\n")
	return nil
}

// quantiles of the tables.
var quantiles = []float64{50, 99, 99.9}

func (t table) print(b *bench) error {
	header := []string{"load", "p50 us", "p99 us", "p99.9 us", "most ms", "p99 to idle"}
	if t.inProcess {
		header = append(header, "Get alone, p99 us")
	}
	header = append(header, "lookups", "without a record", "deltas", "full loads", "scans a second", "scans refused", "threads waited ms/s", "machine ms/s")
	var cells [][]string
	for _, c := range t.columns {
		row := []string{c.name}
		for _, q := range quantiles {
			row = append(row, markdown.Micro(c.lookups.Quantile(q)))
		}
		row = append(row, markdown.Milli(time.Duration(c.lookups.Max())), markdown.Number(t.ratio(c)))
		if t.inProcess {
			row = append(row, markdown.Micro(c.alone.Quantile(99)))
		}
		row = append(row, fmt.Sprint(c.lookups.TotalCount()), fmt.Sprint(c.lost), fmt.Sprint(c.byDelta), fmt.Sprint(c.full))
		row = append(row, t.scanCells(b, c)...)
		machine := "unknown"
		if c.pressureKnown {
			machine = markdown.Number(c.pressure.Seconds() * 1000 / c.seconds)
		}
		cells = append(cells, append(row, markdown.Number(c.wait.Seconds()*1000/c.seconds), machine))
	}
	return markdown.Table(b.out, t.title, header, cells)
}

// scanCells returns the cells about scans.
func (t table) scanCells(b *bench, c column) []string {
	switch {
	case c.scans == noScans:
		return []string{"", ""}
	case !t.inProcess && b.scanned != "":
		return []string{"not available", "not available"}
	}
	n := c.calls
	text := fmt.Sprint(n[shed])
	if n[unclear] > 0 {
		text += fmt.Sprintf(", %d without Retry-After", n[unclear])
	}
	if n[failed] > 0 {
		text += fmt.Sprintf(", %d failed", n[failed])
	}
	return []string{markdown.Number(float64(n[done]) / c.seconds), text}
}

// ratio returns the p99 of c to that of the first column.
func (t table) ratio(c column) float64 { return ratio(c.lookups, t.columns[0].lookups) }

func ratio(of, to openloop.Latencies) float64 {
	return float64(of.Quantile(99)) / max(float64(to.Quantile(99)), 1)
}

// printRatios judges the ratios.
func (b *bench) printRatios() error {
	var cells [][]string
	for _, t := range b.tables {
		for _, c := range t.columns[1:] {
			verdict := "baseline"
			p99 := c.lookups.Quantile(99)
			switch {
			case !t.instance || c.scans == plain:
			case c.scans == inLane && !t.inProcess && b.scanned != "":
				verdict = "without scans: " + markdown.Goal(mostRatio, t.ratio(c))
			case t.inProcess && p99 < fineP99:
				verdict = fmt.Sprintf("goal below %s us, measured %s: met", markdown.Micro(fineP99), markdown.Micro(p99))
			default:
				verdict = markdown.Goal(mostRatio, t.ratio(c))
			}
			where, _, _ := strings.Cut(t.title, ":")
			cells = append(cells, []string{where, c.name, markdown.Number(t.ratio(c)), verdict})
		}
	}
	return markdown.Table(b.out, "p99 to idle, in this run", []string{"lookups", "load", "ratio", "verdict"}, cells)
}

func (b *bench) printSurges() error {
	if len(b.surges) == 0 {
		return nil
	}
	cells := [][]string{
		{"scans a second of one client"},
		{"scans offered in a second"},
		{"done"},
		{"refused with a time to try again"},
		{"refused without"},
		{"other answers"},
		{"not sent, because too many were open"},
		{"most open at a time"},
		{"most that had not begun, or waited in the lane"},
		{"last offer to the next scan done, ms"},
		{"lookups, p99 us"},
		{"before the surge"},
		{"ratio"},
		{"resident MB before"},
		{"during, the most"},
		{"after"},
		{"peak MB before, as the kernel counts"},
		{"after"},
		{"growth of resident memory"},
	}
	header := []string{fmt.Sprintf("%d times the capacity for %s", surgeFactor, b.options.surge)}
	for _, s := range b.surges {
		header = append(header, s.Where)
		o, m := s.Offered, s.Memory
		queue := fmt.Sprint(s.LongestQueue)
		if s.LongestQueue < 0 {
			queue = "not reported"
		}
		for i, cell := range []string{
			markdown.Number(s.Capacity), markdown.Number(surgeFactor * s.Capacity), fmt.Sprint(o.Counts[done]), fmt.Sprint(o.Counts[shed]), fmt.Sprint(o.Counts[unclear]),
			fmt.Sprint(o.Counts[failed] + o.Counts[stopped]), fmt.Sprint(o.Unsent), fmt.Sprint(o.MostOpen), queue, markdown.Milli(o.Recovery),
			markdown.Micro(s.Lookups.Quantile(99)), markdown.Micro(s.Idle.Quantile(99)), markdown.Goal(mostRatio, ratio(s.Lookups, s.Idle)),
			markdown.MB(m.Before), markdown.MB(m.During), markdown.MB(m.After), markdown.MB(m.PeakBefore.Bytes), markdown.MB(m.PeakAfter.Bytes),
			fmt.Sprintf("%.1f %%", 100*float64(m.During-m.Before)/float64(m.Before)),
		} {
			cells[i] = append(cells[i], cell)
		}
		if s.Other != "" {
			b.notes = append(b.notes, "an answer of another kind "+s.Where+": "+s.Other)
		}
	}
	b.notes = append(b.notes, "Peaks in the surge are measured by "+b.surges[0].Memory.PeakAfter.How+".")
	return markdown.Table(b.out, "Surge", header, cells)
}
