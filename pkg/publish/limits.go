package publish

import "freshet.dev/pkg/publish/internal/spill"

// Limits of Config.MemoryBytes, for those who check a setting before there is a Publisher.
const (
	MinMemoryBytes = spill.MinMemoryBytes
	MaxMemoryBytes = spill.MaxMemoryBytes
)
