package build

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/spill"
	"github.com/sourcegraph/conc/stream"
)

const (
	// maxRatio is how many times its own size compressed input may have. gzip reaches 1,032; zstd of rows is far below, but a few
	// hundred KB of zstd can make 10 GB.
	maxRatio = 1000
	// anyRatioBytes is how large an input may become whatever its ratio: a few seconds of reading.
	anyRatioBytes = 1 << 30
)

// ingest reads all records of in.Body into sorter. This goroutine cuts the input into texts, which are parsed in parallel. They are
// added to the sorter one after the other, in the order of the input, so that of several faults the first is reported. Windows
// of zstd data are taken of windows.
func (b *Builder) ingest(ctx context.Context, in Input, m *Meter, sorter *spill.Sorter, windows *input.Windows) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the reading of the body
	body := input.NewBody(ctx, in.Body)
	text, err := input.NewStream(body, input.Limits{
		Windows: windows, Reserve: sorter.Reserve, MaxDecompressedBytes: b.cfg.MaxDecompressedBytes, Ratio: maxRatio, RatioFrom: anyRatioBytes,
	})
	if err != nil {
		return err
	}
	defer text.Close()
	src, err := in.Open(text)
	if err != nil {
		return err
	}
	g := ingestion{src: src, sorter: sorter}
	workers := stream.New().WithMaxGoroutines(b.cfg.Workers)
	for err == nil && !g.failed.Load() && ctx.Err() == nil {
		batch := g.batch()
		if err = src.Next(batch); err != nil {
			break
		}
		read := body.BytesRead()
		workers.Go(func() stream.Callback {
			run, err := g.decode(batch)
			g.batches.Put(batch)
			return func() {
				g.add(run, err)
				m.bytes = read
				m.Report(Reading, sorter.Totals().Entries())
			}
		})
	}
	workers.Wait()
	switch {
	case g.err != nil:
		return g.err // earlier in the input than any other error
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if err != io.EOF {
		return err
	}
	m.bytes = body.BytesRead()
	return nil
}

// ingestion is the shared state of one ingest.
type ingestion struct {
	src      input.Source
	sorter   *spill.Sorter
	batches  sync.Pool // of *input.Batch
	decoders sync.Pool // of input.Decoder
	failed   atomic.Bool
	err      error // the first failure of add; read once all workers are done
}

func (g *ingestion) batch() *input.Batch {
	if b, ok := g.batches.Get().(*input.Batch); ok {
		return b
	}
	return new(input.Batch)
}

// decode makes a run of the texts in b. It stops at the first text that is refused.
func (g *ingestion) decode(b *input.Batch) (*spill.Run, error) {
	d, ok := g.decoders.Get().(input.Decoder)
	if !ok {
		d = g.src.NewDecoder()
	}
	defer g.decoders.Put(d)
	run := g.sorter.NewRun(b.Len(), b.Bytes()+b.Bytes()/8)
	for i := range b.Len() {
		key, value, err := d.Decode(b, i)
		if err != nil {
			return nil, err
		}
		if value == nil {
			run.Remove(b.Line(i), key)
		} else {
			run.Append(b.Line(i), key, value)
		}
	}
	return run, nil
}

// add is called for one batch after the other.
func (g *ingestion) add(run *spill.Run, err error) {
	if g.err != nil {
		return
	}
	if err == nil {
		err = g.sorter.Add(run)
	}
	if err != nil {
		g.err = err
		g.failed.Store(true)
	}
}
