package table

import (
	"context"
	"os"
	"runtime"
	"time"

	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// load is the cost of one load in a new process.
type load struct {
	Nanoseconds int64
	// FileBytes is the size of the loaded file, PeakResident the peak growth of resident memory, and TableBytes the size that the table
	// reports.
	FileBytes, PeakResident, TableBytes int64
}

// measureLoad loads the snapshot from its file.
func measureLoad(ctx context.Context, f files, cfg table.Config) (load, error) {
	info, err := os.Stat(f.snapshot)
	if err != nil {
		return load{}, err
	}
	before, err := proc.Resident()
	if err != nil {
		return load{}, err
	}
	start := time.Now()
	t, err := loadTable(ctx, f.snapshot, cfg)
	if err != nil {
		return load{}, err
	}
	took := time.Since(start)
	peak, err := proc.PeakResident()
	return load{int64(took), info.Size(), peak - before, t.Bytes()}, err
}

// measureJSON decodes the rows, which are in memory, into a map with json.Unmarshal: into structs, or, with keysOnly, only the key of
// each row, which maps to the row's bytes as in a table.
func measureJSON(f files, keysOnly bool) (load, error) {
	data := rows.JSON(f.count)
	before, err := proc.Resident()
	if err != nil {
		return load{}, err
	}
	start := time.Now()
	var m any
	if keysOnly {
		m, err = rows.DecodeKeys(data)
	} else {
		m, err = rows.Decode(data)
	}
	if err != nil {
		return load{}, err
	}
	took := time.Since(start)
	peak, err := proc.PeakResident()
	runtime.KeepAlive(m)
	return load{Nanoseconds: int64(took), FileBytes: int64(len(data)), PeakResident: peak - before}, err
}
