package publish

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"freshet.dev/pkg/publish/internal/scratch"
	"freshet.dev/pkg/publish/internal/spill"
	"freshet.dev/pkg/snapshot"
)

// progressEvery is the number of records between two looks at the context and two calls of Progress.
const progressEvery = 1 << 14

// draft is the snapshot of a version to be, in a temporary file.
type draft struct {
	name   string
	in     Input
	meter  *meter
	folder *scratch.Folder
	seed   uint64

	path   string // of the file; empty until it is written
	totals snapshot.Totals
}

func (p *Publisher) sorter(seed uint64, folder *scratch.Folder) *spill.Sorter {
	return spill.New(spill.Config{
		Seed: seed, MemoryBytes: p.cfg.MemoryBytes,
		Path: func(name string) string { return folder.Path(name + "-" + strconv.FormatUint(seed, 16)) },
	})
}

// write writes the records of sorter, which is in the order of the draft's seed, into the draft's file.
func (p *Publisher) write(ctx context.Context, d *draft, sorter *spill.Sorter) (err error) {
	path := d.folder.Path("snapshot-" + strconv.FormatUint(d.seed, 16))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sorter.Totals()
	w, err := snapshot.NewWriter(f, snapshot.WriterConfig{
		Kind: snapshot.Snapshot, Seed: d.seed, RawBytes: sum.RawBytes, Workers: p.cfg.Workers,
	})
	if err != nil {
		return err
	}
	totals, err := fill(ctx, w, d.meter, sorter)
	if err != nil {
		w.Abort()
		return err
	}
	if totals.State != sum.State {
		return fmt.Errorf("the temporary files hold %v, what was read is %v: the disk or the memory of this machine is damaged", totals.State, sum.State)
	}
	if d.path != "" {
		err = os.Remove(d.path)
	}
	d.path, d.totals = path, totals
	return err
}

func fill(ctx context.Context, w *snapshot.Writer, m *meter, sorter *spill.Sorter) (snapshot.Totals, error) {
	var n uint64
	for rec, err := range sorter.Records(ctx) {
		if err != nil {
			return snapshot.Totals{}, err
		}
		if n%progressEvery == 0 {
			if ctx.Err() != nil {
				return snapshot.Totals{}, context.Cause(ctx)
			}
			m.report(PhaseSorting, n)
		}
		if err := w.Add(rec); err != nil {
			return snapshot.Totals{}, err
		}
		n++
	}
	return w.Close()
}

// open opens the draft's file.
func (d *draft) open() (*os.File, error) { return os.Open(d.path) }

// reseed writes the draft's records again, in the order of another seed.
func (p *Publisher) reseed(ctx context.Context, d *draft, seed uint64) error {
	f, err := d.open()
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := snapshot.NewReader(f)
	if err != nil {
		return err
	}
	sorter := p.sorter(seed, d.folder)
	defer sorter.Close()
	const runBytes = 256 << 10
	run := sorter.NewRun(0, runBytes)
	n := 0
	for rec, err := range r.Records() {
		if err != nil {
			return err
		}
		if n%progressEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n++
		run.Append(n, rec.Key, rec.Value)
		if run.Bytes() >= runBytes {
			if err := sorter.Add(run); err != nil {
				return err
			}
			run = sorter.NewRun(0, runBytes)
		}
	}
	if err := sorter.Add(run); err != nil {
		return err
	}
	d.seed = seed
	return p.write(ctx, d, sorter)
}
