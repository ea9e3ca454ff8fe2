package program

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/metrics"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// heapShare is the share of the container's memory, without that outside of the Go heap, which the runtime may take. The rest is for what
	// its limit does not count: the program's code, stacks of the kernel, page cache in use.
	heapShare = 0.9
	// leastHeap is the least limit that is set: below it, a collector that keeps a smaller limit would cost more than it saves.
	leastHeap = 128 << 20
)

// limits are what the program runs with.
type limits struct {
	memory int64  // GOMEMLIMIT in bytes; math.MaxInt64 for none
	from   string // where it comes from
	err    error  // why the container's limit could not be read
}

// limitMemory sets GOMEMLIMIT to a share of the memory that container allows, without outside bytes that the program takes in addition to
// the Go heap. It leaves a GOMEMLIMIT of the environment as it is, and sets none if little would be left.
func limitMemory(container memlimit.Provider, outside int64) (l limits) {
	from := "none: the container has no memory limit"
	set, err := memlimit.Set(memlimit.WithRatio(heapShare), memlimit.WithProvider(func() (uint64, error) {
		total, err := container()
		switch {
		case errors.Is(err, memlimit.ErrNoLimit), errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
			return 0, memlimit.ErrNoLimit
		case err != nil:
			return 0, err
		case total < uint64(outside)+leastHeap:
			from = "none: the memory limit of the container leaves the Go heap less than 128 MiB"
			return 0, memlimit.ErrNoLimit
		}
		from = "container"
		return total - uint64(outside), nil
	}))
	switch _, given := os.LookupEnv("GOMEMLIMIT"); {
	case given:
		from = "GOMEMLIMIT"
	case os.Getenv("AUTOMEMLIMIT") == "off":
		from = "none: AUTOMEMLIMIT is off"
	case err != nil:
		from = "none: the memory limit of the container cannot be read"
	}
	return limits{set, from, err}
}

// log logs the limits, with those that the runtime has chosen.
func (l limits) log(ctx context.Context, log *slog.Logger) {
	gogc := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(gogc)
	attributes := []any{
		"gomaxprocs", runtime.GOMAXPROCS(0), "cpus", runtime.NumCPU(), "gogc", gogc[0].Value.Uint64(),
		"gomemlimit_from", l.from,
	}
	if l.memory < math.MaxInt64 {
		attributes = append(attributes, "gomemlimit", l.memory)
	}
	log.InfoContext(ctx, "processors and memory", attributes...)
	if l.err != nil {
		log.WarnContext(ctx, "GOMEMLIMIT is not set from the container; set it yourself to keep the process from being killed", "error", l.err)
	}
}

// outside returns the bytes that the program takes in addition to the Go heap.
func (p Program) outside() int64 {
	if p.Outside == nil {
		return 0
	}
	return p.Outside()
}
