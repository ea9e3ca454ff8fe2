package delta

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"freshet.dev/scripts/benchmarks/internal/proc"
)

// Lower bounds of the design for the speed of a refresh, as multiples of the fastest load, by size: at 1 M records, and from 10 M
// records on. There is no bound for 100 changes.
var (
	faster      = []float64{12, 40, 0}
	fasterLarge = []float64{8, 30, 0}
)

const (
	large       = 10_000_000
	mostBytes   = 1.3 // relative to the compressed records alone
	mostGrowth  = 8   // percent of the table
	mostLookup  = 1.1 // relative to a freshly loaded table
	mostBetween = 2   // ratio of 100 changes in the largest and the smallest table
)

// showRefresh prints the costs of single deltas.
func (b *bench) showRefresh(ctx context.Context) error {
	smallest := make(map[int]int64) // times of the smallest delta, by number of records
	for _, count := range b.counts {
		d, err := readData(b.data[count])
		if err != nil {
			return err
		}
		var t times
		if err := b.measure(ctx, &t, count, "times"); err != nil {
			return err
		}
		var memories []memory
		for i := range sizes {
			var m memory
			if err := b.measure(ctx, &m, count, "memory:"+strconv.Itoa(i)); err != nil {
				return err
			}
			memories = append(memories, m)
		}
		var chain memory
		if err := b.measure(ctx, &chain, count, "chain"); err != nil {
			return err
		}
		maps := map[string]int64{}
		for _, part := range []string{"structs", "keys", "clone"} {
			var ns int64
			if err := b.measure(ctx, &ns, count, "map:"+part); err != nil {
				return err
			}
			maps[part] = ns
		}
		if err := b.printBytes(d); err != nil {
			return err
		}
		if err := b.printTimes(count, t, maps); err != nil {
			return err
		}
		if err := b.printMemory(count, memories, chain); err != nil {
			return err
		}
		smallest[count] = t.Refresh[len(sizes)-1]
	}
	few, many := smallest[slices.Min(b.counts)], smallest[slices.Max(b.counts)]
	if len(b.counts) == 1 {
		return nil
	}
	ratio := float64(max(few, many)) / float64(min(few, many))
	_, err := fmt.Fprintf(b.out, "\n100 changes take %s ms in %d records and %s ms in %d: %.2f times, %s\n", ms(few), slices.Min(b.counts), ms(many),
		slices.Max(b.counts), ratio, b.most("100 changes, smallest to largest table", ratio, mostBetween))
	return err
}

func (b *bench) printBytes(d data) error {
	return b.table(fmt.Sprintf("Bytes pulled, %d records; a delta against its records alone, as encoded in files, as one zstd frame", d.Records),
		func(line func(...any)) {
			line("", "delta", "records alone", "ratio", "bound", "as NDJSON alone", "B/change", "of the snapshot")
			for i, s := range sizes {
				f := d.Single[i][0]
				ratio := float64(f.Object.Bytes) / float64(d.Alone[i])
				bound := "-"
				if s.changes(d.Records) > 100 {
					bound = b.most(fmt.Sprintf("bytes of a delta of %s of %d records against its records", s.label, d.Records), ratio, mostBytes)
				}
				line(s.label, f.Object.Bytes, d.Alone[i], fmt.Sprintf("%.3f", ratio), bound, d.AloneNDJSON[i],
					fmt.Sprintf("%.1f", float64(f.Object.Bytes)/float64(f.Changes)), fmt.Sprintf("%.3g %%", percent(f.Object.Bytes, d.Base.Object.Bytes)))
			}
			line("snapshot", d.Base.Object.Bytes)
		})
}

func (b *bench) printTimes(count int, t times, maps map[string]int64) error {
	title := fmt.Sprintf("From bytes in hand to swapped, %d records, medians of %d rounds", count, b.rounds)
	return b.table(title, func(line func(...any)) {
		bounds := faster
		if count >= large {
			bounds = fasterLarge
		}
		times := func(ns int64) string { return fmt.Sprintf("%.1f x", float64(t.FastestLoad)/float64(ns)) }
		line("", "ms", "slowest", "faster than the load", "bound")
		for i, s := range sizes {
			bound := "-"
			if bounds[i] > 0 {
				bound = b.least(fmt.Sprintf("a delta of %s of %d records is faster than the load", s.label, count),
					float64(t.FastestLoad)/float64(t.Refresh[i]), bounds[i])
			}
			line("delta of "+s.label, ms(t.Refresh[i]), ms(t.Slowest[i]), times(t.Refresh[i]), bound)
		}
		line("load of the snapshot, the fastest", ms(t.FastestLoad), "", "1 x", "")
		line("load of the snapshot, the median", ms(t.Load), "", times(t.Load), "")
		line("Go map of structs, JSON decoded again", ms(maps["structs"]), "", times(maps["structs"]), "")
		line("Go map of bytes, keys decoded again", ms(maps["keys"]), "", times(maps["keys"]), "")
		line("Go map of bytes, cloned, 1 % changed", ms(maps["clone"]), "", times(maps["clone"]), "")
	})
}

func (b *bench) printMemory(count int, single []memory, chain memory) error {
	title := fmt.Sprintf("Resident memory of a refresh, %d records, GOGC and GOMEMLIMIT as they are by default; in percent of the table's %d MB",
		count, chain.Table/1_000_000)
	return b.table(title, func(line func(...any)) {
		line("", "peak growth %", "bound", "after, without garbage %", "peak of all %", "replaced %", "table B/record", "median ms", "slowest ms")
		row := func(label string, m memory) {
			growth := percent(m.Growth, m.Table)
			bound := b.most(fmt.Sprintf("peak growth of %s of %d records, percent", label, count), growth, mostGrowth)
			line(label, fmt.Sprintf("%.2f", growth), bound, fmt.Sprintf("%+.2f", percent(m.After-m.Before, m.Table)), fmt.Sprintf("%+.1f", percent(m.Peak-m.Before, m.Table)),
				fmt.Sprintf("%.2f", percent(m.Replaced, m.Table)), fmt.Sprintf("%.1f", float64(m.TableAfter)/float64(count)), ms(m.Median), ms(m.Slowest))
		}
		for i, m := range single {
			row("a delta of "+sizes[i].label, m)
		}
		row(fmt.Sprintf("each of %d deltas of %s", slices.Max(depths), sizes[0].label), chain)
	})
}

// showLookups prints the costs of lookups after deltas.
func (b *bench) showLookups(ctx context.Context) error {
	for _, count := range b.counts {
		var all []lookups
		for i := range depths {
			var l lookups
			for _, order := range []string{"worn-first:", "fresh-first:"} {
				var one lookups
				if err := b.measure(ctx, &one, count, order+strconv.Itoa(i)); err != nil {
					return err
				}
				l.add(one)
			}
			all = append(all, l)
		}
		err := b.table(fmt.Sprintf("Lookups after deltas of %s, %d records, ns a key, medians of %d rounds, and the range of four fifths of the ratios", sizes[0].label, count, 2*b.rounds), func(line func(...any)) {
			line("", "hit", "loaded fresh", "ratio", "range", "bound", "of a GetMany", "loaded fresh", "ratio", "range", "bound", "overhead B/record", "loaded fresh")
			for i, l := range all {
				label := fmt.Sprintf("%d deltas", depths[i])
				cells := []any{label}
				for _, by := range []struct {
					what string
					rounds
				}{{"Get", l.Get}, {"GetMany", l.GetMany}} {
					ratios := by.ratios()
					ratio, tenth := proc.Median(ratios), len(ratios)/10
					cells = append(cells, fmt.Sprintf("%.0f", proc.Median(by.Worn)), fmt.Sprintf("%.0f", proc.Median(by.Fresh)), fmt.Sprintf("%.3f", ratio),
						fmt.Sprintf("%.2f-%.2f", ratios[tenth], ratios[len(ratios)-1-tenth]),
						b.most(fmt.Sprintf("%s after %s in %d records against a fresh table", by.what, label, count), ratio, mostLookup))
				}
				line(append(cells, fmt.Sprintf("%.1f", l.WornBytes), fmt.Sprintf("%.1f", l.FreshBytes))...)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// showProfile prints how a delta of 1 % of the largest table spends its time.
func (b *bench) showProfile(ctx context.Context) error {
	count := slices.Max(b.counts)
	var p profiled
	if err := b.measure(ctx, &p, count, "profile"); err != nil {
		return err
	}
	_, err := b.printProfile(ctx, count, p)
	return err
}
