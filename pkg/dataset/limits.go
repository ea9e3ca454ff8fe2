package dataset

import "time"

// Limits of a version's content. A publisher refuses, before the commit, any input above a limit; an instance loads every
// version within them. deployments/docs/publishing.md lists them.
const (
	// MaxNameBytes is the length of the longest dataset name.
	MaxNameBytes = 64

	// MaxKeyBytes and MaxValueBytes bound a record's key and value.
	MaxKeyBytes   = 1 << 10
	MaxValueBytes = 1 << 20
	// MaxEncodedBytes is the length of the longest encoded record, MaxHeadBytes that of the longest two uvarints before its key.
	MaxEncodedBytes = MaxHeadBytes + MaxKeyBytes + MaxValueBytes
	MaxHeadBytes    = 2 + 3

	// GroupBits is the number of leading bits of a hash that select a record's group. A file or a table of any size may have
	// that many partition bits, so a group is the smallest set of records that can always form a separate partition.
	GroupBits = 20
	// MaxGroupBytes bounds the encoded records of a group, and so the smallest partition of a file, which a reader decodes in
	// one piece. Seeded hashes spread records evenly over the groups: below ten terabytes, only keys chosen on purpose
	// reach the limit.
	MaxGroupBytes = 64 << 20

	// MaxSourceBytes, MaxLabels and MaxLabelBytes bound the metadata that a pipeline attaches to a version, so that an event
	// stays far below the size limit of a message. MaxLabelBytes bounds a label's name, and its value.
	MaxSourceBytes = 256
	MaxLabels      = 32
	MaxLabelBytes  = 256
	// MaxRequestIDBytes is the length of the longest request id.
	MaxRequestIDBytes = 128
	// MaxByBytes and MaxReasonBytes bound who published a version and why.
	MaxByBytes     = 256
	MaxReasonBytes = 1 << 10
	// MaxSchemaBytes bounds the JSON Schema of a dataset's values, MaxRequiredKeys and MaxRequiredKeyBytes the keys that each version must
	// have, all of it as JSON. A journal entry that changes both holds each of them twice.
	MaxSchemaBytes      = 20 << 10
	MaxRequiredKeys     = 100
	MaxRequiredKeyBytes = 6 << 10
	// MinExpectEvery and MaxExpectEvery bound VersionRecord.ExpectEvery.
	MinExpectEvery = time.Second
	MaxExpectEvery = 10 * 366 * 24 * time.Hour

	// MaxDeltas bounds the deltas of a version record.
	MaxDeltas = 1024
	// MaxRecordBytes bounds the JSON of a version record. A record that reaches every limit above has a third of that.
	MaxRecordBytes = 1 << 20
	// MaxEntryBytes bounds the JSON of a journal entry.
	MaxEntryBytes = 64 << 10
)
