package input

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// minWindow is the window that is always accepted: that of zstd -19, which RFC 9659 allows in HTTP.
	minWindow = 8 << 20
	// maxWindow is the largest window that is accepted, whatever the memory: the default limit of the zstd tool.
	maxWindow = 128 << 20
	// windowWait is how long an input waits for the windows of others.
	windowWait = 5 * time.Second
)

// ErrBusy is returned when the windows and pages of other inputs take the memory for as long as an input waits.
var ErrBusy = errors.New("the windows of other zstd inputs and the pages of other Parquet inputs take the memory that there is for them")

// Windows is the memory for the windows of zstd decoders and the pages of Parquet files: a semaphore, first come, first served. A frame of some bytes declares a
// window of any size, and a decoder allocates it whole.
type Windows struct {
	each   uint64 // the largest window
	what   string // the inputs, in the plural
	part   uint64 // each is the memory of the publisher divided by part, within minWindow and maxWindow
	memory *semaphore.Weighted
}

// NewWindows returns the semaphore of publishes. It has the given memory less the share of patches, but always 8 MiB. A window has
// half of the memory at most, but always 8 MiB and never over 128 MiB.
func NewWindows(memory int64) *Windows {
	total := uint64(memory)
	return &Windows{
		each: min(max(total/2, minWindow), maxWindow), what: "publishes", part: 2,
		memory: semaphore.NewWeighted(int64(max(total-min(patchShare(total), total), minWindow))),
	}
}

// NewPatchWindows returns the semaphore of patches: a quarter of the memory, but always 8 MiB. Patches do not wait for publishes, which
// may be slow for hours. A window may take all of it, but never over 128 MiB.
func NewPatchWindows(memory int64) *Windows {
	share := patchShare(uint64(memory))
	return &Windows{each: min(share, maxWindow), what: "patches", part: 4, memory: semaphore.NewWeighted(int64(share))}
}

func patchShare(memory uint64) uint64 { return max(memory/4, minWindow) }

// check refuses a window that is too large for any input.
func (w *Windows) check(window uint64) error {
	if window <= w.each {
		return nil
	}
	r := &Refusal{
		Line:    1,
		Problem: fmt.Sprintf("the zstd data needs a window of %s to decompress, and the most for %s is %s", mebibytes(window), w.what, mebibytes(w.each)),
		Hint:    fmt.Sprintf("compress it with at most zstd --long=%d, or with zstd -19 or less and without --long and --ultra", bits.Len64(w.each)-1),
	}
	if window <= maxWindow {
		r.Hint += fmt.Sprintf("; or raise FRESHET_MEMORY_BYTES of the publisher (MemoryBytes of the library) to %s", mebibytes((w.part*window+1<<20-1)>>20<<20))
	}
	return r
}

func mebibytes(n uint64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// take acquires the bytes of a window, and waits for windowWait at most. The caller releases them.
func (w *Windows) take(ctx context.Context, bytes uint64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, windowWait, ErrBusy)
	defer cancel()
	if err := w.memory.Acquire(ctx, int64(bytes)); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (w *Windows) release(bytes uint64) { w.memory.Release(int64(bytes)) }
