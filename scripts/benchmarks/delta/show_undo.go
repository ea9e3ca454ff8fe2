package delta

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/system"
)

const (
	// mostUndoServed bounds the time from the commit of a rollback to the swap in an instance that holds the content, relative to a patch
	// of one record, the smallest delta, in the same instance.
	mostUndoServed = 1.5
	// mostUndoCommitted bounds the time from the command to the commit, relative to a patch with the same changes.
	mostUndoCommitted = 1.0
	// mostUndoResident bounds the resident memory that kept versions add, relative to the table, at the default of FRESHET_KEEP_ROOTS.
	mostUndoResident = 0.15
	// undoRounds is so small that all versions of a run are fewer than the deltas after which a patch writes a snapshot.
	undoRounds = 9
	// undoPause is the time between a version and the next one, in which the instance writes to its cache folder and collects garbage.
	undoPause = 300 * time.Millisecond
	// undoSettle is how long instances take after refreshes by deltas to return free memory to the system.
	undoSettle = 130 * time.Second
)

// undoKeeps are the values of FRESHET_KEEP_ROOTS of the instances: none, the default, and one that is enough for five versions of 1 %.
var undoKeeps = []int{0, undoDefault, 60}

const undoDefault = 15

// undoCase is a kind of rollback. In each round, a patch of one record, the patches that are rolled back, and the rollback follow one another.
type undoCase struct {
	changes, by                int
	smalls, rollbacks, patches []undone // patches are of as many changes as the rollbacks have
}

// undoRun has the results with one value of FRESHET_KEEP_ROOTS.
type undoRun struct {
	keep     int
	cases    []*undoCase
	resident int64 // bytes
}

// showUndo prints the cost of rollbacks in instances that hold the content and in others. Each instance is alone with the servers, because
// one that pulls a delta takes the processor from the others.
func (b *bench) showUndo(ctx context.Context) error {
	var runs []undoRun
	for _, keep := range undoKeeps {
		run, err := b.measureUndo(ctx, keep)
		if err != nil {
			return fmt.Errorf("with KEEP_ROOTS=%d: %w", keep, err)
		}
		runs = append(runs, run)
	}
	return b.printUndo(ctx, runs)
}

// measureUndo measures all cases with one instance.
func (b *bench) measureUndo(ctx context.Context, keep int) (undoRun, error) {
	count := b.counts[0]
	name := "undo-" + strconv.Itoa(keep)
	url := "dir://" + filepath.Join(b.folder, name)
	run := undoRun{keep: keep}
	for _, changes := range []int{min(100, count/100), count / 100} {
		run.cases = append(run.cases, &undoCase{changes: changes, by: 1}, &undoCase{changes: changes, by: 5})
	}
	if err := b.putAll(ctx, url, []string{name}, []int{count}); err != nil {
		return run, err
	}
	st, err := storeurl.Open(ctx, url)
	if err != nil {
		return run, err
	}
	defer st.Close()
	return run, system.Run(ctx, b.folder, url, func(s *system.System) error {
		p, end, err := newPatcher(ctx, s.NATS, s.Publisher, name)
		if err != nil {
			return err
		}
		defer end()
		u := &undoer{patcher: p, store: st, name: name, count: count, newest: 1}
		u.instances = []string{s.InstanceWith([]string{"KEEP_ROOTS=" + strconv.Itoa(keep)}, name, name)}
		if _, _, err := p.served(ctx, 1, 1); err != nil {
			return err
		}
		for range 2 { // they open connections
			if _, err := u.patch(ctx, 1); err != nil {
				return err
			}
		}
		for range min(b.rounds, undoRounds) {
			for _, c := range run.cases {
				if err := c.round(ctx, u, keep == undoDefault); err != nil {
					return err
				}
			}
		}
		if b.rounds > 1 {
			pause(ctx, undoSettle)
		}
		run.resident, err = proc.ResidentOf(run.cases[0].smalls[0].PID)
		return err
	})
}

// round makes a patch of one record, the patches of the case and their rollback, and also a patch of as many changes if same is true.
func (c *undoCase) round(ctx context.Context, u *undoer, same bool) error {
	small, err := u.patch(ctx, 1)
	for i := 0; err == nil && i < c.by; i++ {
		_, err = u.patch(ctx, c.changes)
	}
	if err != nil {
		return err
	}
	back, err := u.rollback(ctx, c.by)
	c.smalls, c.rollbacks = append(c.smalls, small), append(c.rollbacks, back)
	if err == nil && same {
		var patch undone
		patch, err = u.patch(ctx, c.changes*c.by)
		c.patches = append(c.patches, patch)
	}
	return err
}

func (b *bench) printUndo(ctx context.Context, runs []undoRun) error {
	served, load := func(u undone) int64 { return u.Served }, func(u undone) int64 { return u.Load }
	committed, pulled := func(u undone) int64 { return u.Committed }, func(u undone) int64 { return u.Pulled }
	title := fmt.Sprintf("Rollbacks of %d records, medians of %d in ms; each value of KEEP_ROOTS has one instance in a run of its own",
		b.counts[0], len(runs[0].cases[0].rollbacks))
	err := b.table(title, func(line func(...any)) {
		line("rollback of", "by versions", "KEEP_ROOTS", "pulled bytes", "commit to served", "of a patch of 1", "ratio", "bound", "load", "of a patch of 1")
		for _, r := range runs {
			for _, c := range r.cases {
				is, small := medianOf(c.rollbacks, served), medianOf(c.smalls, served)
				ratio, bound := float64(is)/float64(small), ""
				if r.keep > 0 && medianOf(c.rollbacks, pulled) == 0 {
					bound = b.most(fmt.Sprintf("a rollback of %d changes by %d with KEEP_ROOTS=%d, commit to served", c.changes, c.by, r.keep), ratio, mostUndoServed)
				}
				line(c.changes, c.by, r.keep, medianOf(c.rollbacks, pulled), ms(is), ms(small), fmt.Sprintf("%.2f", ratio), bound,
					ms(medianOf(c.rollbacks, load)), ms(medianOf(c.smalls, load)))
			}
		}
	})
	if err != nil {
		return err
	}
	err = b.table("Command to commit, ms", func(line func(...any)) {
		line("rollback of", "by versions", "took", "patch of as many changes", "ratio", "bound")
		for _, r := range runs {
			for _, c := range r.cases {
				if len(c.patches) == 0 {
					continue
				}
				is, patch := medianOf(c.rollbacks, committed), medianOf(c.patches, committed)
				ratio := float64(is) / float64(patch)
				line(c.changes, c.by, ms(is), ms(patch), fmt.Sprintf("%.2f", ratio),
					b.most(fmt.Sprintf("a rollback of %d changes by %d, command to commit", c.changes, c.by), ratio, mostUndoCommitted))
			}
		}
	})
	if err != nil {
		return err
	}
	return b.printUndoMemory(ctx, runs)
}

func (b *bench) printUndoMemory(ctx context.Context, runs []undoRun) error {
	d, err := readData(b.data[b.counts[0]])
	if err != nil {
		return err
	}
	t, err := d.Base.loadFile(ctx)
	if err != nil {
		return err
	}
	return b.table("Resident memory of the instances after the rollbacks, MB", func(line func(...any)) {
		line("KEEP_ROOTS", "resident", "more than without, of the table", "bound")
		for _, r := range runs {
			more := float64(r.resident-runs[0].resident) / float64(t.Bytes())
			bound := ""
			if r.keep == undoDefault {
				bound = b.most("resident memory of kept versions", more, mostUndoResident)
			}
			line(r.keep, fmt.Sprintf("%.1f", float64(r.resident)/1e6), fmt.Sprintf("%.3f", more), bound)
		}
	})
}

func medianOf(all []undone, value func(undone) int64) int64 {
	var values []int64
	for _, u := range all {
		values = append(values, value(u))
	}
	return proc.Median(values)
}
