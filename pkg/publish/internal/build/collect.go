package build

import (
	"context"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/spill"
)

// runBytes is the size of the runs that a filler makes.
const runBytes = 256 << 10

// filler adds records to a sorter in runs, on one goroutine.
type filler struct {
	sorter *spill.Sorter
	run    *spill.Run // nil if it has no record
}

// add copies a record, and reports whether it filled a run. The line is that of the record in the input, or its number.
func (f *filler) add(line int, r dataset.Record) (filled bool, err error) {
	if f.run == nil {
		f.run = f.sorter.NewRun(0, runBytes)
	}
	if r.Removed {
		f.run.Remove(line, r.Key)
	} else {
		f.run.Append(line, r.Key, r.Value)
	}
	if f.run.Bytes() < runBytes {
		return false, nil
	}
	return true, f.flush()
}

// flush adds the last run. Call it after the last record.
func (f *filler) flush() error {
	if f.run == nil {
		return nil
	}
	run := f.run
	f.run = nil
	return f.sorter.Add(run)
}

// collect reads all records of in.Records into sorter. The sequence runs on this goroutine and has returned when collect returns.
func collect(ctx context.Context, in Input, m *Meter, sorter *spill.Sorter) error {
	records := filler{sorter: sorter}
	report := func() {
		totals := sorter.Totals()
		m.bytes = totals.PayloadBytes
		m.Report(Reading, totals.Entries())
	}
	n := 0
	for r, err := range in.Records {
		n++
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("record %d: %w", n, err)
		}
		if err := input.CheckRecord(n, r, in.Removals); err != nil {
			return err
		}
		filled, err := records.add(n, r)
		if err != nil {
			return err
		}
		if filled {
			report()
		}
	}
	// A sequence that ends early because ctx has ended may not say so.
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := records.flush(); err != nil {
		return err
	}
	report()
	return nil
}
