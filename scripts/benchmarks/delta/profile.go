package delta

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/table"
)

// profiled is a profile of refreshes.
type profiled struct {
	Path                   string
	Refreshes, Nanoseconds int64
}

// profileFor is how long refreshes are profiled. The profiler takes a sample each 10 ms of processor time.
const profileFor = 6 * time.Second

// profile applies the deltas of 1 % to a freshly loaded table repeatedly, with the profiler running.
func profile(ctx context.Context, d data, long time.Duration) (p profiled, err error) {
	base, err := d.Base.loadFile(ctx)
	if err != nil {
		return p, err
	}
	var files [][]byte
	for _, f := range d.Single[0] {
		b, err := os.ReadFile(f.Path)
		if err != nil {
			return p, err
		}
		files = append(files, b)
	}
	runtime.GC()
	out, err := os.CreateTemp(filepath.Dir(d.Base.Path), "refresh-*.prof")
	if err != nil {
		return p, err
	}
	defer out.Close()
	p.Path = out.Name()
	if err := pprof.StartCPUProfile(out); err != nil {
		return p, err
	}
	defer pprof.StopCPUProfile()
	var served atomic.Pointer[table.Table]
	start := time.Now()
	for time.Since(start) < long {
		for i, f := range d.Single[0] {
			t, _, err := f.apply(ctx, base, bytes.NewReader(files[i]))
			if err != nil {
				return p, err
			}
			served.Swap(t)
			p.Refreshes++
		}
	}
	p.Nanoseconds = int64(time.Since(start))
	return p, nil
}

// phases are the parts of a refresh by function. The time of a function includes the functions that it calls.
var phases = []struct{ label, function string }{
	{"read the file, its digest and checksums", `table\.\(\*applier\)\.read$`},
	{"decompress its blocks", `snapshot\.Stored\.Decode$`},
	{"verify and hash its records", `snapshot\.\(\*Walker\)\.Next$`},
	{"ask for the memory of the records replaced", `table\.\(\*editor\)\.prefetchRecords$`},
	{"change the indexes", `table\.\(\*editor\)\.change$`},
	{"  of that, find a record and take it out of the checksum", `table\.\(\*editor\)\.applyEntry$`},
	{"  of that, copy pages of indexes", `table\.\(\*editor\)\.(page|ownAll)$`},
	{"  of that, keep the new records", `table\.\(\*partition\)\.appendPatch$`},
	{"rebuild partitions", `table\.\(\*editor\)\.merge$`},
	{"make the directory", `table\.\(\*applier\)\.assemble$`},
	{"collect garbage, concurrently", `runtime\.gcBgMarkWorker$`},
}

// printProfile prints the phases of a refresh and the functions that take most of its time. It returns the number of phases in the
// profile.
func (b *bench) printProfile(ctx context.Context, count int, p profiled) (found int, err error) {
	top := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, "go", append(append([]string{"tool", "pprof", "-top"}, args...), p.Path)...)
		cmd.Stderr = os.Stderr
		return cmd.Output()
	}
	all, err := top("-cum", "-nodecount=2000", "-nodefraction=0")
	if err != nil {
		return 0, fmt.Errorf("read the profile with go tool pprof: %w", err)
	}
	shares := cumulative(all)
	err = b.table(fmt.Sprintf("Where a delta of %s of %d records spends its time: %.1f ms a refresh, percent of %s", sizes[0].label, count,
		float64(p.Nanoseconds)/1e6/float64(p.Refreshes), "the processor's time"), func(line func(...any)) {
		for _, phase := range phases {
			total, function := 0.0, regexp.MustCompile(phase.function)
			for name, share := range shares {
				if function.MatchString(name) {
					total += share
				}
			}
			if total > 0 {
				found++
			}
			line(fmt.Sprintf("%-58s", phase.label), fmt.Sprintf("%.1f", total))
		}
	})
	if err != nil {
		return 0, err
	}
	flat, err := top("-nodecount=15")
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(b.out, "\n%s", flat)
	return found, err
}

// cumulative returns the cumulative percentages of functions in the output of pprof -top, whose lines have flat, flat%, sum%, cum, cum%
// and the name.
func cumulative(top []byte) map[string]float64 {
	shares := make(map[string]float64)
	for lines := bufio.NewScanner(bytes.NewReader(top)); lines.Scan(); {
		cells := strings.Fields(lines.Text())
		var share float64
		if len(cells) < 6 || !strings.HasSuffix(cells[4], "%") {
			continue
		}
		if _, err := fmt.Sscanf(cells[4], "%f%%", &share); err == nil {
			shares[cells[5]] = share
		}
	}
	return shares
}
