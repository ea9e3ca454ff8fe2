package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/spill"
	"freshet.dev/pkg/store"
)

// Limits of Config.MemoryBytes.
const (
	MinMemoryBytes = spill.MinMemoryBytes
	MaxMemoryBytes = spill.MaxMemoryBytes
)

// MaxFields is the most columns of a CSV, and the most members of an object in a record, with those of the objects around it.
const MaxFields = input.MaxFields

// Limits of the deltas that follow a snapshot, before a new one is due.
const (
	// DefaultMaxDeltas is the default of Config.MaxDeltas.
	DefaultMaxDeltas = 32
	// DefaultMaxDeltaPercent is the default of Config.MaxDeltaPercent.
	DefaultMaxDeltaPercent = 50
	// MaxMaxDeltas is the largest Config.MaxDeltas. It is half of the hard limit, so that as many patches again can be
	// committed during a compaction.
	MaxMaxDeltas = versions.HardMaxDeltas / 2
)

const (
	// DefaultCompactEvery is the default of Config.CompactEvery.
	DefaultCompactEvery = 5 * time.Minute
	// compactRetry is the pause for a dataset after its first failure to compact.
	compactRetry = time.Second
)

// Config configures a Publisher. The zero Config is usable.
type Config struct {
	// TempDir is the folder for spilled records; if empty, [os.TempDir]. It needs space for twice the uncompressed input and a
	// snapshot, and should not be in memory. Open creates it if it is missing.
	TempDir string
	// MemoryBytes bounds the bytes of records in memory, with the window that decompresses them or the pages of a Parquet file, before records
	// are spilled: 4 MiB to 2 GiB; 0 means 64 MiB. It also bounds the windows and pages of all concurrent inputs: a quarter is for patches, the rest for publishes, each
	// at least 8 MiB. One window takes half of it at most, a patch's window a quarter. Windows of 8 MiB are always accepted, windows of
	// more than 128 MiB never.
	MemoryBytes int64
	// MaxDecompressedBytes bounds a compressed Input.Body once it is decompressed, and the records of any Input.Body, since rows of CSV
	// become objects with the names of all columns; 0 means 256 GiB. Above 128 MiB the decompressed body may have at most 1,000 times its
	// size, and the records at most 1,000 times the size of the decompressed body.
	MaxDecompressedBytes int64
	// Source is Input.Source where that is empty.
	Source string
	// Workers is how many goroutines parse and compress, and decode blocks for patches; 0 means GOMAXPROCS, at most 4.
	Workers int
	// AnnounceTimeout bounds each of the two stages after the commit; 0 means 5 s. If the event log lacks earlier versions, a publish
	// takes up to twelve times as long to announce those first.
	AnnounceTimeout time.Duration
	// MaxDeltas is how many deltas may follow a snapshot before a new one is due; 0 means [DefaultMaxDeltas], at most
	// [MaxMaxDeltas].
	MaxDeltas int
	// MaxDeltaPercent is how large they may be together, in percent of the snapshot's bytes, before a new one is due; 0
	// means [DefaultMaxDeltaPercent], at most 100.
	MaxDeltaPercent int
	// Settings returns the settings of a dataset, such as its gates, which each version must meet before it is committed; nil stands for
	// the zero [dataset.Settings], whose default gate refuses a version that removes more than half of the records. A publish that cannot
	// read its settings fails.
	Settings func(ctx context.Context, name string) (dataset.Settings, error)
	// FillSettings sets those of the values, by name, that are not set, and returns the settings after that:
	// [freshet.dev/pkg/journal.Journal.Fill]. The first publish of a dataset sets the key and which numbers are keys. If it is nil, nothing
	// is set, and every publish without the setting names its key.
	FillSettings func(ctx context.Context, name string, values map[string]json.RawMessage, by, reason string) (dataset.Settings, error)
	// FirstSettings returns the settings that the first publish of a dataset sets with FillSettings in addition to the key, given those that are set;
	// nil sets no others.
	FirstSettings func(set dataset.Settings) map[string]json.RawMessage
	// BeaconEvery is the period of the beacons that Run sends; 0 means [events.DefaultBeaconEvery], the least is
	// [events.MinBeaconEvery] and the most [events.MaxBeaconEvery]. Reading the store may take as long. A beacon omits the
	// datasets that are unread by then, and the next one begins with them.
	BeaconEvery time.Duration
	// BeaconName names the sender of the beacons, for people to read.
	BeaconName string
	// CompactEvery is how often Run checks all datasets for snapshots that are due, because other processes patch them too; 0 means
	// DefaultCompactEvery.
	CompactEvery time.Duration
	// OnBeacon, if not nil, is called by Run after each round of the beacon; OnRepair for each repair and each failure of one;
	// OnCompact after each compaction that wrote a snapshot or failed, and with an empty name when the datasets could not be listed.
	// They should return soon.
	OnBeacon  func(BeaconRound)
	OnRepair  func(RepairResult)
	OnCompact func(name string, c Compaction, took time.Duration, err error)
	// Log gets messages that no caller receives as a result; nil means no logging.
	Log *slog.Logger
}

func (c *Config) setDefaults() error {
	if c.TempDir == "" {
		c.TempDir = os.TempDir()
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = 64 << 20
	}
	if c.MaxDecompressedBytes == 0 {
		c.MaxDecompressedBytes = 256 << 30
	}
	if c.Workers == 0 {
		c.Workers = min(runtime.GOMAXPROCS(0), 4)
	}
	if c.AnnounceTimeout == 0 {
		c.AnnounceTimeout = 5 * time.Second
	}
	if c.MaxDeltas == 0 {
		c.MaxDeltas = DefaultMaxDeltas
	}
	if c.MaxDeltaPercent == 0 {
		c.MaxDeltaPercent = DefaultMaxDeltaPercent
	}
	if c.BeaconEvery == 0 {
		c.BeaconEvery = events.DefaultBeaconEvery
	}
	if c.CompactEvery == 0 {
		c.CompactEvery = DefaultCompactEvery
	}
	if c.OnBeacon == nil {
		c.OnBeacon = func(BeaconRound) {}
	}
	if c.OnRepair == nil {
		c.OnRepair = func(RepairResult) {}
	}
	if c.OnCompact == nil {
		c.OnCompact = func(string, Compaction, time.Duration, error) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c.check()
}

func (c *Config) check() error {
	switch {
	case c.MemoryBytes < spill.MinMemoryBytes || c.MemoryBytes > spill.MaxMemoryBytes:
		return fmt.Errorf("publish: MemoryBytes is %d; it must be between %d and %d", c.MemoryBytes, spill.MinMemoryBytes, int64(spill.MaxMemoryBytes))
	case c.MaxDecompressedBytes < 0:
		return fmt.Errorf("publish: MaxDecompressedBytes is %d; it cannot be negative", c.MaxDecompressedBytes)
	case c.Workers < 0:
		return fmt.Errorf("publish: Workers is %d; it cannot be negative", c.Workers)
	case c.AnnounceTimeout < 0:
		return fmt.Errorf("publish: AnnounceTimeout is %v; it cannot be negative", c.AnnounceTimeout)
	case c.MaxDeltas < 1 || c.MaxDeltas > MaxMaxDeltas:
		return fmt.Errorf("publish: MaxDeltas is %d; it must be between 1 and %d", c.MaxDeltas, MaxMaxDeltas)
	case c.MaxDeltaPercent < 1 || c.MaxDeltaPercent > 100:
		return fmt.Errorf("publish: MaxDeltaPercent is %d; it must be between 1 and 100", c.MaxDeltaPercent)
	case c.BeaconEvery < events.MinBeaconEvery || c.BeaconEvery > events.MaxBeaconEvery:
		return fmt.Errorf("publish: BeaconEvery is %v; it must be between %v and %v", c.BeaconEvery, events.MinBeaconEvery, events.MaxBeaconEvery)
	case c.CompactEvery < 0:
		return fmt.Errorf("publish: CompactEvery is %v; it cannot be negative", c.CompactEvery)
	case len(c.Source) > dataset.MaxSourceBytes:
		return fmt.Errorf("publish: Source has %d bytes, the most is %d", len(c.Source), dataset.MaxSourceBytes)
	}
	return nil
}

// Deps is what a Publisher works with. The Publisher closes none of it.
type Deps struct {
	// Store takes objects and version records. It is required.
	Store store.Store
	// Events announces versions; nil if there is no event log.
	Events EventLog
	// Catalog indexes versions; nil if there is no catalog.
	Catalog Catalog
	// SendBeacon sends the beacons of Run: [events.SendBeacon], with a connection. If it is nil, no beacon is sent, and instances soon
	// report that they are blind.
	SendBeacon func(events.Beacon) error
}
