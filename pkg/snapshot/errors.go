package snapshot

import (
	"errors"
	"fmt"
)

// Errors that refuse bytes. Each is wrapped with what is wrong and at which byte of the file or of the block.
var (
	// ErrCorrupt is wrapped by every error that refuses damaged or malformed bytes, and only by these.
	ErrCorrupt = errors.New("corrupt file")
	// ErrTruncated is wrapped when the input ends before the file does. It wraps [ErrCorrupt].
	ErrTruncated = fmt.Errorf("%w: it is cut short", ErrCorrupt)
	// ErrFormat is wrapped for a file that is no snapshot or delta, or one of a format version or kind that this
	// package does not know.
	ErrFormat = errors.New("unknown file format")
)

// errMagic is what of ErrFormat may be damage: no header came.
var errMagic = fmt.Errorf("%w", ErrFormat)

// Errors of a writer's or a diff's caller.
var (
	// ErrOrder is wrapped when records do not come in the strictly ascending order of (hash, key).
	ErrOrder = errors.New("records out of order")
	// ErrRemoval is wrapped when a removal is put where only records can be: in a snapshot, or in a [Diff].
	ErrRemoval = errors.New("removal outside a delta")
	// ErrBlockSize is wrapped when one partition's records exceed [MaxBlockRaw]. [Cut] tries smaller partitions.
	ErrBlockSize = errors.New("block too large")
	// ErrGroupSize is wrapped when one group's records exceed [dataset.MaxGroupBytes]: no file holds them.
	ErrGroupSize = errors.New("group too large")
	// ErrClosed is returned by a Writer that has been closed or aborted.
	ErrClosed = errors.New("writer is closed")
)
