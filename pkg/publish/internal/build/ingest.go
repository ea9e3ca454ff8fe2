package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/spill"
	"github.com/sourcegraph/conc/stream"
)

const (
	// maxRatio is how many times the size of the body its text may have, and how many times the size of the text its records. gzip
	// reaches 1,032; zstd of rows is far below, but a few hundred KB of zstd can make 10 GB. Rows of CSV become objects that repeat the
	// names of columns, some ten times the size of an empty field.
	maxRatio = 1000
	// anyRatioBytes is how large text and records may become whatever their ratio: some seconds of reading, for the shortest records.
	anyRatioBytes = 128 << 20
	// partBytes is the size at which the records of a batch go to the next run: a batch of rows can make several times its bytes.
	partBytes = 512 << 10
)

// ingest reads all records of in.Files into sorter, one file after the other.
func (b *Builder) ingest(ctx context.Context, in Input, m *Meter, sorter *spill.Sorter, windows *input.Windows, folder *scratch.Folder) error {
	g := &ingestion{sorter: sorter, places: in.Places, meter: m, maxBytes: b.cfg.MaxDecompressedBytes}
	for file, err := range in.Files {
		if err == nil {
			err = b.ingestFile(ctx, g, file, input.Limits{
				Windows: windows, Reserve: sorter.Reserve, MaxDecompressedBytes: b.cfg.MaxDecompressedBytes, Ratio: maxRatio, RatioFrom: anyRatioBytes,
				Spool: folder.Path("input.parquet"),
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ingestFile reads the records of one file. This goroutine cuts the file into texts, which are parsed in parallel. They are
// added to the sorter one after the other, in the order of the file, so that of several faults the first is reported. Windows
// of zstd data and the pages of Parquet files are taken of limits.Windows.
func (b *Builder) ingestFile(ctx context.Context, g *ingestion, file File, limits input.Limits) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the reading of the body
	at := place{name: file.Name}
	defer func() { err = at.failed(err) }()
	limits.File = input.RandomAccess(file.Body)
	body := input.NewBody(ctx, file.Body)
	text, err := input.NewStream(body, limits)
	if err != nil {
		return err
	}
	defer text.Close()
	src, err := file.Open(text)
	if err != nil && ctx.Err() != nil { // err may be about the body, which ends too
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	at.rows = input.CountsRows(src)
	at = g.begin(at, src)
	workers := stream.New().WithMaxGoroutines(b.cfg.Workers)
	for err == nil && !g.failed.Load() && ctx.Err() == nil {
		batch := g.batch()
		if err = src.Next(batch); err != nil {
			break
		}
		read, textBytes := body.BytesRead(), text.TextBytes()
		workers.Go(func() stream.Callback {
			runs, err := g.decode(ctx, batch)
			last := batch.Line(batch.Len() - 1)
			g.batches.Put(batch)
			return func() {
				g.add(runs, last, textBytes, err)
				g.report(read)
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
	g.end(body.BytesRead(), text.TextBytes())
	return nil
}

// failed adds the file to err.
func (f place) failed(err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*input.Refusal](err); ok {
		return f.set(r, r.Line)
	}
	if f.name != "" {
		return fmt.Errorf("file %q: %w", f.name, err)
	}
	return err
}

// ingestion is the shared state of one ingest.
type ingestion struct {
	sorter   *spill.Sorter
	places   *Places
	meter    *Meter
	batches  sync.Pool // of *input.Batch
	maxBytes int64     // of all records

	// For the file in progress.
	src      input.Source
	decoders *sync.Pool // of input.Decoder
	place    place
	last     int // the line of the last record

	read, text int64 // bytes of the files before, as sent and decompressed
	failed     atomic.Bool
	err        error // the first failure of add; read once all workers are done
}

// begin begins a file.
func (g *ingestion) begin(at place, src input.Source) place {
	g.place, g.src, g.decoders, g.last = g.places.add(at), src, new(sync.Pool), 0
	return g.place
}

// end ends the file, of which so many bytes were read.
func (g *ingestion) end(read, text int64) {
	g.places.lines += g.last
	g.read, g.text = g.read+read, g.text+text
	g.meter.bytes = g.read
}

// report reports the bytes of the file that were read.
func (g *ingestion) report(read int64) {
	g.meter.bytes = g.read + read
	g.meter.Report(Reading, g.sorter.Totals().Entries())
}

func (g *ingestion) batch() *input.Batch {
	if b, ok := g.batches.Get().(*input.Batch); ok {
		return b
	}
	return new(input.Batch)
}

// decode makes runs of the texts in b. It stops at the first text that is refused, and when ctx ends.
func (g *ingestion) decode(ctx context.Context, b *input.Batch) (runs []*spill.Run, err error) {
	d, ok := g.decoders.Get().(input.Decoder)
	if !ok {
		d = g.src.NewDecoder()
	}
	defer g.decoders.Put(d)
	var run *spill.Run
	for i := range b.Len() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if run == nil || run.Bytes() >= partBytes {
			run = g.sorter.NewRun(b.Len()-i, min(b.Bytes()+b.Bytes()/8, partBytes))
			runs = append(runs, run)
		}
		key, value, err := d.Decode(b, i)
		if err != nil {
			return nil, err
		}
		line := g.place.before + b.Line(i)
		if value == nil {
			run.Remove(line, key)
		} else {
			run.Append(line, key, value)
		}
	}
	return runs, nil
}

// add is called for one batch after the other, with the line of its last record and how many bytes of text of the file were read until
// then.
func (g *ingestion) add(runs []*spill.Run, last int, text int64, err error) {
	if g.err != nil {
		return
	}
	for _, run := range runs {
		if err == nil {
			err = g.sorter.Add(run)
		}
	}
	g.last = last
	if err == nil {
		err = g.check(last, g.text+text)
	}
	if err != nil {
		g.err = err
		g.failed.Store(true)
	}
}

// check refuses an input whose records, up to the given line, have become too large, or too large for their text. Only the records of a
// CSV can be larger than their text: they repeat the names of the columns.
func (g *ingestion) check(line int, text int64) error {
	bytes := g.sorter.Totals().PayloadBytes
	switch {
	case g.maxBytes > 0 && bytes > g.maxBytes:
		return &input.Refusal{
			Line: line, Problem: fmt.Sprintf("the records up to here have more than %d bytes", g.maxBytes),
			Hint: "raise FRESHET_TEXT_BYTES of the publisher (MaxDecompressedBytes of the library)",
			Err:  input.ErrTooLarge,
		}
	case bytes > anyRatioBytes && bytes/maxRatio > text:
		return &input.Refusal{
			Line: line, Problem: fmt.Sprintf("the records up to here have more than %d times the size of their text", maxRatio),
			Hint: "use shorter names of columns: each record repeats them",
			Err:  input.ErrTooLarge,
		}
	}
	return nil
}
