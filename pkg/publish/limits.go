package publish

import (
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/spill"
)

// Limits of Config.MemoryBytes, for those who check a setting before there is a Publisher.
const (
	MinMemoryBytes = spill.MinMemoryBytes
	MaxMemoryBytes = spill.MaxMemoryBytes
)

// Limits of the deltas that follow a snapshot, before a new one is due.
const (
	// DefaultMaxDeltas is how many deltas follow a snapshot.
	DefaultMaxDeltas = 32
	// DefaultMaxDeltaPercent is how large they are together, in percent of the snapshot's bytes.
	DefaultMaxDeltaPercent = 50
	// MaxMaxDeltas is the largest Config.MaxDeltas. It leaves a compaction the time of as many patches again before patches
	// have to wait for it.
	MaxMaxDeltas = history.HardMaxDeltas / 2
)
