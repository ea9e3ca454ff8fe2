// Package build turns an input into the files of a version.
//
// A [Builder] reads and sorts records, and writes deltas. A [Draft] has all records of a dataset and their snapshot. A [Full]
// makes the next version of a draft: it compares the draft with the newest version, and puts the delta and, if one is due, a
// snapshot into the store.
package build

import (
	"context"
	"errors"
	"iter"
	"os"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/spill"
	"freshet.dev/pkg/snapshot"
)

// checkEvery is the number of records between two checks of the context and two reports of progress.
const checkEvery = 1 << 14

// Config configures a Builder.
type Config struct {
	MemoryBytes          int64 // of records before they are spilled, for each input
	MaxDecompressedBytes int64 // the most that a compressed body may have once decompressed, and the records of any body
	Workers              int   // goroutines that parse and compress
	Limits               versions.Limits
}

// Builder reads inputs and writes files. It is safe for concurrent use.
type Builder struct {
	cfg     Config
	history *versions.History
	windows *input.Windows // of publishes
	patches *input.Windows // of patches
}

// New returns a Builder that compares with the versions in h.
func New(cfg Config, h *versions.History) *Builder {
	return &Builder{cfg: cfg, history: h, windows: input.NewWindows(cfg.MemoryBytes), patches: input.NewPatchWindows(cfg.MemoryBytes)}
}

// Input is what records are read from: Files, or Records if Files is nil.
type Input struct {
	// Files yields the texts or Parquet files of the records. Each is read to its end before the next.
	Files iter.Seq2[File, error]
	// Places is where the records of Files are. The caller makes it. It is nil for the records of a version: they are on no line.
	Places *Places
	// Records yields the records. It may reuse their bytes.
	Records iter.Seq2[dataset.Record, error]
	// Removals says to accept removals in Records.
	Removals bool
	// EmptyHint is the hint of the refusal of an input without records.
	EmptyHint string
}

// Sort reads in and returns its records in a sorter, as a patch: its windows are those of patches.
func (b *Builder) Sort(ctx context.Context, in Input, meter *Meter, seed uint64, folder *scratch.Folder) (*spill.Sorter, error) {
	return b.sort(ctx, in, meter, seed, folder, b.patches)
}

func (b *Builder) sort(ctx context.Context, in Input, meter *Meter, seed uint64, folder *scratch.Folder, windows *input.Windows) (*spill.Sorter, error) {
	sorter := b.newSorter(seed, folder)
	sorted := false
	defer func() {
		if !sorted { // also after a panic of in.Records
			sorter.Close()
		}
	}()
	var err error
	if in.Files != nil {
		err = b.ingest(ctx, in, meter, sorter, windows, folder)
	} else {
		err = collect(ctx, in, meter, sorter)
	}
	if err == nil && sorter.Totals().Entries() == 0 {
		err = &input.Refusal{Problem: "the input has no record", Hint: in.EmptyHint, Err: ErrEmpty}
	}
	if err != nil {
		return nil, err
	}
	sorted = true
	return sorter, nil
}

func (b *Builder) newSorter(seed uint64, folder *scratch.Folder) *spill.Sorter {
	return spill.New(spill.Config{
		Seed: seed, MemoryBytes: b.cfg.MemoryBytes,
		Path: func(name string) string { return folder.Path(name + "-" + strconv.FormatUint(seed, 16)) },
	})
}

// WriteFile writes records into the file at path, and replaces an existing one. End closes the Writer.
func WriteFile(path string, cfg snapshot.WriterConfig, records iter.Seq2[dataset.Record, error],
	end func(*snapshot.Writer) (snapshot.Totals, error),
) (_ snapshot.Totals, err error) {
	f, err := os.Create(path)
	if err != nil {
		return snapshot.Totals{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w, err := snapshot.NewWriter(f, cfg)
	if err != nil {
		return snapshot.Totals{}, err
	}
	defer w.Abort()
	for r, err := range records {
		if err == nil {
			err = w.Add(r)
		}
		if err != nil {
			return snapshot.Totals{}, err
		}
	}
	return end(w)
}
