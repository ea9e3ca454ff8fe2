package delta

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// load builds the table of the snapshot f from its bytes.
func (f file) load(ctx context.Context, src io.Reader) (*table.Table, error) {
	r, err := snapshot.NewReader(src, snapshot.Expect(f.Object))
	if err != nil {
		return nil, err
	}
	return table.Load(ctx, r, table.Config{Version: f.Object.Version})
}

// apply builds the table from base and the bytes of the delta f.
func (f file) apply(ctx context.Context, base *table.Table, src io.Reader) (*table.Table, *table.Changes, error) {
	r, err := snapshot.NewReader(src, snapshot.Expect(f.Object))
	if err != nil {
		return nil, nil, err
	}
	return table.Apply(ctx, base, r, table.Config{Version: f.Object.Version})
}

// loadFile is load with the bytes in the file.
func (f file) loadFile(ctx context.Context) (*table.Table, error) {
	src, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return f.load(ctx, src)
}

// applyAll applies the deltas in files one after the other.
func applyAll(ctx context.Context, t *table.Table, deltas []file) (*table.Table, error) {
	for _, f := range deltas {
		b, err := os.ReadFile(f.Path)
		if err != nil {
			return nil, err
		}
		if t, _, err = f.apply(ctx, t, bytes.NewReader(b)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// times are nanoseconds from the bytes in memory to the swapped-in table.
type times struct {
	FastestLoad, Load int64   // the fastest and the median load of the snapshot
	Refresh           []int64 // the median of each delta size
	Slowest           []int64
}

// measureTimes loads the snapshot and applies each single delta to it, in rounds.
func measureTimes(ctx context.Context, d data, rounds int) (times, error) {
	whole, err := os.ReadFile(d.Base.Path)
	if err != nil {
		return times{}, err
	}
	deltas := make([][][]byte, len(d.Single))
	for i, files := range d.Single {
		for _, f := range files {
			b, err := os.ReadFile(f.Path)
			if err != nil {
				return times{}, err
			}
			deltas[i] = append(deltas[i], b)
		}
	}
	base, err := d.Base.load(ctx, bytes.NewReader(whole))
	if err != nil {
		return times{}, err
	}
	var served atomic.Pointer[table.Table]
	served.Swap(base)
	timed := func(make func() (*table.Table, error)) (int64, error) {
		start := time.Now()
		t, err := make()
		if err != nil {
			return 0, err
		}
		served.Swap(t)
		took := time.Since(start)
		served.Swap(base)
		return int64(took), nil
	}
	var loads []int64
	refreshes := make([][]int64, len(sizes))
	for range rounds {
		runtime.GC() // so that no earlier garbage remains to be swept
		took, err := timed(func() (*table.Table, error) { return d.Base.load(ctx, bytes.NewReader(whole)) })
		if err != nil {
			return times{}, err
		}
		loads = append(loads, took)
		runtime.GC()
		for i, files := range d.Single {
			for j, f := range files {
				took, err := timed(func() (*table.Table, error) {
					t, _, err := f.apply(ctx, base, bytes.NewReader(deltas[i][j]))
					return t, err
				})
				if err != nil {
					return times{}, err
				}
				refreshes[i] = append(refreshes[i], took)
			}
		}
	}
	t := times{FastestLoad: slices.Min(loads), Load: proc.Median(loads)}
	for _, r := range refreshes {
		t.Refresh, t.Slowest = append(t.Refresh, proc.Median(r)), append(t.Slowest, slices.Max(r))
	}
	return t, nil
}

// measureMap times updates of a Go map of the same rows, in nanoseconds: decoding all rows again, as structs of package rows and with
// their keys only, and cloning the map and changing 1 % of it.
func measureMap(count int, part string) (int64, error) {
	data := rows.JSON(count)
	var m any
	var err error
	start := time.Now()
	switch part {
	case "structs":
		m, err = rows.Decode(data)
	case "keys":
		m, err = rows.DecodeKeys(data)
	case "clone":
		whole := make(map[string][]byte, count)
		changed := make(map[string][]byte)
		for i := range count {
			key := string(rows.AppendKey(nil, i))
			whole[key] = data[i*rows.ValueBytes : (i+1)*rows.ValueBytes]
			if i%100 == 0 {
				changed[key] = rows.AppendUpdate(nil, i)
			}
		}
		start = time.Now()
		next := maps.Clone(whole)
		maps.Copy(next, changed)
		m = next
		defer runtime.KeepAlive(whole)
	default:
		err = fmt.Errorf("nothing of a map is called %q", part)
	}
	took := time.Since(start)
	runtime.KeepAlive(m)
	return int64(took), err
}
