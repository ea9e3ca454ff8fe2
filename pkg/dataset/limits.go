package dataset

import "time"

// Limits of what a version holds. A publisher refuses, before the commit, what is above one, and an instance loads all that is
// not. README.md lists them.
const (
	// MaxNameBytes is the length of the longest dataset name.
	MaxNameBytes = 64

	// MaxKeyBytes and MaxValueBytes bound a record.
	MaxKeyBytes   = 1 << 10
	MaxValueBytes = 1 << 20
	// MaxEncodedBytes is the length of the longest encoded record, MaxHeadBytes that of what precedes its key.
	MaxEncodedBytes = MaxHeadBytes + MaxKeyBytes + MaxValueBytes
	MaxHeadBytes    = 2 + 3

	// GroupBits is the number of leading bits of a hash that name a group of records. A file and a table may always have that
	// many partition bits, however small they are, so a group is the least that can always be split off.
	GroupBits = 20
	// MaxGroupBytes is the most bytes that the encoded records of a group have: those of one partition of a file, which a
	// reader decodes at once. Seeded hashes spread a dataset so evenly over its groups that only keys chosen for it reach the
	// limit with less than ten terabytes.
	MaxGroupBytes = 64 << 20

	// MaxSourceBytes, MaxLabels and MaxLabelBytes bound what a pipeline may attach to a version, so that an event stays far
	// below a message's size limit. MaxLabelBytes is that of a name, and of a value.
	MaxSourceBytes = 256
	MaxLabels      = 32
	MaxLabelBytes  = 256
	// MaxRequestIDBytes is the length of the longest request id.
	MaxRequestIDBytes = 128
	// MinExpectEvery and MaxExpectEvery bound a promised cadence.
	MinExpectEvery = time.Second
	MaxExpectEvery = 10 * 366 * 24 * time.Hour

	// MaxDeltas is the most deltas that a version record names.
	MaxDeltas = 1024
	// MaxRecordBytes bounds a version record as JSON. One with all that the limits above allow has a third of it.
	MaxRecordBytes = 1 << 20
)
