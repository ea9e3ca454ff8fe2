package snapshot

import (
	"errors"
	"fmt"
)

// Errors about a file's bytes. The errors of this package wrap them, and add the fault and its byte in the file or block.
var (
	// ErrCorrupt is returned when bytes are damaged or malformed.
	ErrCorrupt = errors.New("corrupt file")
	// ErrTruncated is returned when the input ends before the file does. It wraps [ErrCorrupt].
	ErrTruncated = fmt.Errorf("%w: the input ends too early", ErrCorrupt)
	// ErrFormat is returned when a file is neither a snapshot nor a delta, or has a format version or kind that this
	// package does not support.
	ErrFormat = errors.New("unknown file format")
)

// errMagic is returned when a file does not begin with the magic. Unlike other cases of ErrFormat it may be damage.
var errMagic = fmt.Errorf("%w", ErrFormat)

// Errors about the records that a caller passes.
var (
	// ErrOrder is returned when records are not in the strictly ascending order of (hash, key).
	ErrOrder = errors.New("records out of order")
	// ErrRemoval is returned when a removal is passed where only records are allowed: for a snapshot, or to [Diff].
	ErrRemoval = errors.New("removal outside a delta")
	// ErrBlockSize is returned when one partition's records exceed [MaxBlockRaw]. [Cut] retries with smaller partitions.
	ErrBlockSize = errors.New("block too large")
	// ErrGroupSize is returned when one group's records exceed [dataset.MaxGroupBytes], so that no file can hold them.
	ErrGroupSize = errors.New("group too large")
	// ErrClosed is returned when a Writer is used after Close, CloseDelta or Abort.
	ErrClosed = errors.New("writer is closed")
)
