package build

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/publish/internal/spill"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

// Draft is the content of a version to be: all its records and, once needed, their snapshot.
type Draft struct {
	name    string
	in      Input
	builder *Builder
	meter   *Meter
	folder  *scratch.Folder
	sorter  *spill.Sorter // has the records, in the order of seed
	seed    uint64

	path   string // of the snapshot; empty until it is written
	totals snapshot.Totals
}

// Draft reads in, all records of the dataset. The draft keeps its files in folder.
func (b *Builder) Draft(ctx context.Context, name string, in Input, meter *Meter, seed uint64, folder *scratch.Folder) (*Draft, error) {
	sorter, err := b.sort(ctx, in, meter, seed, folder, b.windows)
	if err != nil {
		return nil, in.Failure(name, "read the input", err)
	}
	// gofail: var bodyRead struct{}
	return &Draft{name: name, in: in, builder: b, meter: meter, folder: folder, sorter: sorter, seed: seed}, nil
}

// Close releases the records.
func (d *Draft) Close() { d.sorter.Close() }

// State returns the state checksum of the records.
func (d *Draft) State() dataset.Checksum { return d.sorter.Totals().State }

// Records yields the records in order, as often as it is called. A duplicate key ends it with an *input.Refusal, and so does a
// record with which no instance could load the version. Every publish that creates a version calls it.
func (d *Draft) Records(ctx context.Context) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		groups := snapshot.NewGroups(d.seed)
		small := d.sorter.Totals().RawBytes <= dataset.MaxGroupBytes
		var state dataset.Checksum
		var buf []byte
		n := uint64(0)
		for r, err := range d.sorter.Records(ctx) {
			if n%checkEvery == 0 {
				d.meter.Report(Sorting, n)
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
			}
			if err != nil {
				yield(dataset.Record{}, d.in.Failure(d.name, "sort the records", err))
				return
			}
			n++
			buf = dataset.AppendRecord(buf[:0], r)
			state.Add(d.seed, buf)
			if !small && groups.Add(r) != nil {
				yield(dataset.Record{}, d.in.at(d.sorter.Line(), GroupTooLarge(r.Key)))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if state != d.State() {
			yield(dataset.Record{}, fmt.Errorf("the temporary files have state %v, the input had %v: the disk or the memory of this machine is damaged",
				state, d.State()))
		}
	}
}

// check reads all records, because a key may come twice.
func (d *Draft) check(ctx context.Context) error {
	for _, err := range d.Records(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

// snapshot returns the object of the records' snapshot, which it writes to a temporary file once.
func (d *Draft) snapshot(ctx context.Context) (dataset.Object, error) {
	if d.path == "" {
		path := d.folder.Path("snapshot")
		err := snapshot.Cut(d.sorter.Totals().RawBytes, func(rawBytes int64) (err error) {
			d.totals, err = WriteFile(path, snapshot.WriterConfig{
				Kind: snapshot.Snapshot, Seed: d.seed, RawBytes: rawBytes, Workers: d.builder.cfg.Workers,
			}, d.Records(ctx), (*snapshot.Writer).Close)
			return err
		})
		if err != nil {
			return dataset.Object{}, fmt.Errorf("write the snapshot: %w", err)
		}
		d.path = path
	}
	return dataset.Object{Digest: d.totals.Digest, Bytes: d.totals.FileBytes}, nil
}

// reseed sorts the records by the seed of latest. Of several publishers of a first version one sets the seed.
func (d *Draft) reseed(ctx context.Context, latest dataset.VersionRecord) error {
	if latest.Version == 0 || uint64(latest.Seed) == d.seed {
		return nil
	}
	if err := d.sortBy(ctx, uint64(latest.Seed)); err != nil {
		return fmt.Errorf("sort dataset %q by the seed of version %s: %w", d.name, latest.ID(), err)
	}
	return nil
}

func (d *Draft) sortBy(ctx context.Context, seed uint64) (err error) {
	// A file holds the records in between, so that the memory of one sorter is free before the next takes it.
	t := tape.New(d.folder.Path("reseed"))
	defer func() { err = errors.Join(err, t.Close()) }()
	for r, err := range d.Records(ctx) {
		if err == nil {
			err = t.Add(r)
		}
		if err != nil {
			return err
		}
	}
	d.sorter.Close()
	d.sorter, d.seed, d.path = d.builder.newSorter(seed, d.folder), seed, ""
	records := filler{sorter: d.sorter}
	n := 0
	for r, err := range t.Records() {
		if n%checkEvery == 0 && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		n++
		if _, err := records.add(0, r); err != nil { // a tape has no line numbers
			return err
		}
	}
	return records.flush()
}
