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
	// of one record, the smallest delta.
	mostUndoServed = 1.5
	// mostUndoCommitted bounds the time from the command to the commit, relative to a patch with the same changes.
	mostUndoCommitted = 1.0
	// mostUndoResident bounds the resident memory that kept versions add, relative to the table, at the default of FRESHET_KEEP_ROOTS.
	mostUndoResident = 0.15
	undoRounds       = 7
	// undoSettle is how long instances take after refreshes by deltas to return free memory to the system.
	undoSettle = 130 * time.Second
)

// undoKeeps are the values of FRESHET_KEEP_ROOTS of the instances: none, the default, and one that is enough for five versions of 1 %.
var undoKeeps = []int{0, 15, 60}

func undoName(keep int) string { return "keeps-" + strconv.Itoa(keep) }

// undoCase is a kind of rollback.
type undoCase struct {
	changes, by int
	patches     []undone // of as many changes as the rollback has
	rollbacks   []undone
}

// showUndo prints the cost of rollbacks in instances that hold the content and in others.
func (b *bench) showUndo(ctx context.Context) error {
	count := b.counts[0]
	const name = "undo"
	url := "dir://" + filepath.Join(b.folder, "undo-store")
	if err := b.putAll(ctx, url, []string{name}, []int{count}); err != nil {
		return err
	}
	st, err := storeurl.Open(ctx, url)
	if err != nil {
		return err
	}
	defer st.Close()
	var small []undone
	cases := []*undoCase{{changes: min(100, count/100), by: 1}, {changes: min(100, count/100), by: 5}, {changes: count / 100, by: 1}, {changes: count / 100, by: 5}}
	resident := make(map[int]int64)
	err = system.Run(ctx, b.folder, url, func(s *system.System) error {
		p, end, err := newPatcher(ctx, s.NATS, s.Publisher, name)
		if err != nil {
			return err
		}
		defer end()
		u := &undoer{patcher: p, store: st, name: name, count: count, newest: 1}
		for _, keep := range undoKeeps {
			u.instances = append(u.instances, s.InstanceWith([]string{"KEEP_ROOTS=" + strconv.Itoa(keep)}, undoName(keep), name))
		}
		if _, _, err := p.served(ctx, 1, len(u.instances)); err != nil {
			return err
		}
		for round := range 2 + min(b.rounds, undoRounds) {
			one, err := u.patch(ctx, 1)
			if err != nil {
				return err
			}
			if round >= 2 { // the first ones open connections
				small = append(small, one)
			}
		}
		all := func(step func(*undoCase, context.Context, *undoer) error) error {
			for _, c := range cases {
				for range min(b.rounds, undoRounds) {
					if err := step(c, ctx, u); err != nil {
						return err
					}
				}
			}
			return nil
		}
		if err := all((*undoCase).rollback); err != nil {
			return err
		}
		if b.rounds > 1 {
			select {
			case <-time.After(undoSettle):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		for _, keep := range undoKeeps {
			if resident[keep], err = proc.ResidentOf(small[0].Instances[undoName(keep)].PID); err != nil {
				return err
			}
		}
		return all((*undoCase).patch)
	})
	if err != nil {
		return err
	}
	return b.printUndo(ctx, count, small, cases, resident)
}

// patch makes a patch of as many changes as the rollback has.
func (c *undoCase) patch(ctx context.Context, u *undoer) error {
	same, err := u.patch(ctx, c.changes*c.by)
	c.patches = append(c.patches, same)
	return err
}

// rollback makes the patches of the case and rolls them back.
func (c *undoCase) rollback(ctx context.Context, u *undoer) error {
	for range c.by {
		if _, err := u.patch(ctx, c.changes); err != nil {
			return err
		}
	}
	back, err := u.rollback(ctx, c.by)
	c.rollbacks = append(c.rollbacks, back)
	return err
}

func (b *bench) printUndo(ctx context.Context, count int, small []undone, cases []*undoCase, resident map[int]int64) error {
	served := func(all []undone, keep int) int64 {
		return medianOf(all, func(u undone) int64 { return u.Instances[undoName(keep)].Served })
	}
	pulled := func(all []undone, keep int) int64 {
		return medianOf(all, func(u undone) int64 { return u.Instances[undoName(keep)].Pulled })
	}
	committed := func(all []undone) int64 { return medianOf(all, func(u undone) int64 { return u.Committed }) }
	title := fmt.Sprintf("Rollbacks of %d records, medians of %d; KEEP_ROOTS of the instances: %v", count, len(small), undoKeeps)
	err := b.table(title, func(line func(...any)) {
		line("", "by versions", "KEEP_ROOTS", "pulled bytes", "commit to served ms", "of a patch of 1", "bound", "command to commit ms", "of the same patch", "bound")
		for _, keep := range undoKeeps {
			line("patch of 1", "", keep, pulled(small, keep), ms(served(small, keep)), "", "", ms(committed(small)), "", "")
		}
		for _, c := range cases {
			same := float64(committed(c.rollbacks)) / float64(committed(c.patches))
			for i, keep := range undoKeeps {
				ratio := float64(served(c.rollbacks, keep)) / float64(served(small, keep))
				bound, what := "", fmt.Sprintf("a rollback of %d changes by %d", c.changes, c.by)
				if pulled(c.rollbacks, keep) == 0 {
					bound = b.most(what+", commit to served", ratio, mostUndoServed)
				}
				took, ofPatch, within := "", "", ""
				if i == 0 { // of the publisher, for all instances
					took, ofPatch, within = ms(committed(c.rollbacks)), fmt.Sprintf("%.2f", same), b.most(what+", command to commit", same, mostUndoCommitted)
				}
				line(fmt.Sprintf("rollback of %d", c.changes), c.by, keep, pulled(c.rollbacks, keep), ms(served(c.rollbacks, keep)), fmt.Sprintf("%.2f", ratio), bound,
					took, ofPatch, within)
			}
		}
	})
	if err != nil {
		return err
	}
	d, err := readData(b.data[count])
	if err != nil {
		return err
	}
	t, err := d.Base.loadFile(ctx)
	if err != nil {
		return err
	}
	return b.table("Resident memory of the instances after the rollbacks, MB", func(line func(...any)) {
		line("KEEP_ROOTS", "resident", "more than without, of the table", "bound")
		for _, keep := range undoKeeps {
			more := float64(resident[keep]-resident[0]) / float64(t.Bytes())
			bound := ""
			if keep == 15 {
				bound = b.most("resident memory of kept versions", more, mostUndoResident)
			}
			line(keep, fmt.Sprintf("%.1f", float64(resident[keep])/1e6), fmt.Sprintf("%.3f", more), bound)
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
