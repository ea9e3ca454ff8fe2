package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/scratch"
	"freshet.dev/pkg/publish/internal/spill"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

// progressEvery is the number of records between two looks at the context and two calls of Progress.
const progressEvery = 1 << 14

// draft is the content of a version to be: its records and, once somebody needs it, their snapshot.
type draft struct {
	name   string
	in     Input
	meter  *meter
	folder *scratch.Folder
	sorter *spill.Sorter // has the records, in the order of seed
	seed   uint64

	path   string // of the snapshot; empty until it is written
	totals snapshot.Totals

	request requested

	owner   string        // of its claims
	claimed []uint64      // the versions of its claims
	longest time.Duration // of its attempts to commit

	verified map[dataset.Digest]bool // objects in the store that were verified for this publish
}

func (p *Publisher) sorter(seed uint64, folder *scratch.Folder) *spill.Sorter {
	return spill.New(spill.Config{
		Seed: seed, MemoryBytes: p.cfg.MemoryBytes,
		Path: func(name string) string { return folder.Path(name + "-" + strconv.FormatUint(seed, 16)) },
	})
}

// close lets go of the records.
func (d *draft) close() { d.sorter.Close() }

func (d *draft) state() dataset.Checksum { return d.sorter.Totals().State }

// records yields the records in order, as often as it is called. A key that comes twice ends it with an [*InputError], and
// so does a record with which no instance could load the version. Every publish that creates a version calls it.
func (d *draft) records(ctx context.Context) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		groups := snapshot.NewGroups(d.seed)
		small := d.sorter.Totals().RawBytes <= dataset.MaxGroupBytes
		var state dataset.Checksum
		var buf []byte
		n := uint64(0)
		for r, err := range d.sorter.Records(ctx) {
			if n%progressEvery == 0 {
				d.meter.report(PhaseSorting, n)
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
			}
			if err != nil {
				yield(dataset.Record{}, inputError(d.name, "sort the records", err))
				return
			}
			n++
			buf = dataset.AppendRecord(buf[:0], r)
			state.Add(d.seed, buf)
			if !small && groups.Add(r) != nil {
				yield(dataset.Record{}, groupTooLarge(d.name, d.sorter.Line(), r.Key))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if state != d.state() {
			yield(dataset.Record{}, fmt.Errorf("the temporary files hold %v, what was read is %v: the disk or the memory of this machine is damaged",
				state, d.state()))
		}
	}
}

// check goes through the records: a key may come twice.
func (d *draft) check(ctx context.Context) error {
	for _, err := range d.records(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

// write writes the snapshot of the draft's records into a temporary file, unless it is there already.
func (p *Publisher) write(ctx context.Context, d *draft) error {
	if d.path != "" {
		return nil
	}
	path := d.folder.Path("snapshot")
	err := snapshot.Cut(d.sorter.Totals().RawBytes, func(rawBytes int64) (err error) {
		d.totals, err = writeFile(path, snapshot.WriterConfig{
			Kind: snapshot.Snapshot, Seed: d.seed, RawBytes: rawBytes, Workers: p.cfg.Workers,
		}, d.records(ctx), (*snapshot.Writer).Close)
		return err
	})
	if err != nil {
		return err
	}
	d.path = path
	return nil
}

// reseed brings the records into the order of another seed.
func (p *Publisher) reseed(ctx context.Context, d *draft, seed uint64) (err error) {
	// By way of a file, so that the memory of one sorter is free before the next takes it.
	t := tape.New(d.folder.Path("reseed"))
	defer func() { err = errors.Join(err, t.Close()) }()
	for r, err := range d.records(ctx) {
		if err == nil {
			err = t.Add(r)
		}
		if err != nil {
			return err
		}
	}
	d.sorter.Close()
	d.sorter, d.seed, d.path = p.sorter(seed, d.folder), seed, ""
	const runBytes = 256 << 10
	run := d.sorter.NewRun(0, runBytes)
	n := 0
	for r, err := range t.Records() {
		if n%progressEvery == 0 && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		n++
		run.Append(0, r.Key, r.Value) // a tape keeps no lines
		if run.Bytes() >= runBytes {
			if err := d.sorter.Add(run); err != nil {
				return err
			}
			run = d.sorter.NewRun(0, runBytes)
		}
	}
	return d.sorter.Add(run)
}
