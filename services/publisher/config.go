package publisher

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/keep"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/internal/settings"
)

// Config configures a publisher. Its fields are read from the environment by package settings.
type Config struct {
	Listen    string        `split_words:"true" default:":8480" desc:"address to listen on, host:port; port 0 takes any free one"`
	LogLevel  slog.Level    `split_words:"true" default:"info" desc:"lowest level that is logged: debug, info, warn or error"`
	StopGrace time.Duration `split_words:"true" default:"20s" desc:"how long requests may take to finish when the publisher stops"`

	StoreURL     settings.URL   `split_words:"true" desc:"the store: dir:///path or s3://bucket/prefix; required"`
	NatsURL      settings.URL   `split_words:"true" desc:"NATS with JetStream, for the event log: nats://host:port, several with commas between them; required"`
	NatsReplicas int            `split_words:"true" default:"0" desc:"number of NATS servers that store the event log; 0: 1 for a new log, unchanged for an existing one"`
	NatsMaxBytes settings.Bytes `split_words:"true" default:"0" desc:"most bytes that the event log takes on each NATS server; full, it keeps fewer events of each dataset. 0: no bound, or that of an existing one, at first up to 256 MiB, where the JetStream account requires max_bytes"`
	RedisURL     settings.URL   `split_words:"true" desc:"the catalog's Redis, redis://host:port; without it there is no catalog"`
	Namespace    string         `split_words:"true" desc:"keeps environments that share NATS and Redis apart: 1 to 32 of a-z, 0-9, _ and -, the same for all programs of an environment; the default namespace if not set"`

	TempDir     string         `split_words:"true" desc:"folder for temporary files, with space for twice the uncompressed input and a snapshot, for every publish in progress; the system's if not set"`
	MemoryBytes settings.Bytes `split_words:"true" default:"64MiB" desc:"memory for records of one publish, with the zstd window or the Parquet pages of its body, before records go to temporary files; also the most that the windows and pages of all bodies take together, a quarter for patches and the rest for publishes, each at least 8MiB; one body has at most half of it, that of a patch a quarter, but 8MiB always"`
	Workers     int            `split_words:"true" default:"0" desc:"goroutines of one publish that parse and compress; 0: one for each processor, at most 4"`
	Source      string         `split_words:"true" desc:"name of the publisher, kept with versions whose request has no source"`

	MaxDeltas       int           `split_words:"true" default:"32" desc:"how many deltas may follow a snapshot before a new one is due"`
	MaxDeltaPercent int           `split_words:"true" default:"50" desc:"how large the deltas that follow a snapshot may be together, in percent of its bytes, before a new one is due"`
	CompactEvery    time.Duration `split_words:"true" default:"5m" desc:"how often all datasets are checked for a snapshot that is due because of patches; datasets patched by this publisher are checked immediately"`

	GcEvery time.Duration `split_words:"true" default:"1h" desc:"time between two runs that mark and remove objects that no kept version needs; 0: no runs"`
	GcGrace time.Duration `split_words:"true" default:"24h" desc:"how long such an object stays before it is marked, and then before it is removed; longer than any publish takes; 0: 24h"`

	BeaconEvery time.Duration `split_words:"true" default:"5s" desc:"period of the beacon, which tells all instances the newest version of every dataset, and of the repair of the event log and the catalog; an instance that receives no beacon for three periods is blind"`

	Publishes int            `split_words:"true" default:"2" desc:"how many publishes of all records may be in progress; more are refused as busy"`
	Patches   int            `split_words:"true" default:"8" desc:"how many patches may be in progress, in addition to publishes; more are refused as busy"`
	Reads     int            `split_words:"true" default:"4" desc:"how many reads of versions (records, keys, exports, diffs, histories, sizes) or events may be in progress, in addition to publishes; more are refused as busy, with 0 all are"`
	BodyBytes settings.Bytes `split_words:"true" default:"64GiB" desc:"largest body of a publish, as sent"`
	TextBytes settings.Bytes `split_words:"true" default:"256GiB" desc:"largest compressed body of a publish once it is decompressed, and most bytes of the records of any body; above 128MiB the decompressed body may have at most 1000 times its size as sent, and the records at most 1000 times the decompressed body"`
	BodyStall time.Duration  `split_words:"true" default:"60s" desc:"how long a body may send nothing before the request fails"`
	BodyRate  settings.Bytes `split_words:"true" default:"1KiB" desc:"least bytes a second that a body sends, on average over each FRESHET_BODY_STALL of waiting for it"`
	BodyTime  time.Duration  `split_words:"true" default:"6h" desc:"how long a body may take from its first byte to its last"`
}

// Validate returns all errors in c, by variable.
func (c *Config) Validate() error {
	errs := []error{
		settings.CheckListen(c.Listen),
		settings.CheckNamespace(c.Namespace),
		settings.CheckURL("FRESHET_STORE_URL", c.StoreURL, "dir", "s3"),
		settings.CheckURL("FRESHET_NATS_URL", c.NatsURL, "nats", "tls", "ws", "wss"),
		settings.CheckAtLeast("FRESHET_STOP_GRACE", c.StopGrace, 0),
		settings.CheckAtLeast("FRESHET_NATS_REPLICAS", c.NatsReplicas, 0),
		settings.CheckAtLeast("FRESHET_NATS_MAX_BYTES", c.NatsMaxBytes, 0),
		settings.CheckBetween("FRESHET_MEMORY_BYTES", c.MemoryBytes, publish.MinMemoryBytes, publish.MaxMemoryBytes),
		settings.CheckAtLeast("FRESHET_WORKERS", c.Workers, 0),
		settings.CheckBetween("FRESHET_MAX_DELTAS", c.MaxDeltas, 1, publish.MaxMaxDeltas),
		settings.CheckBetween("FRESHET_MAX_DELTA_PERCENT", c.MaxDeltaPercent, 1, 100),
		settings.CheckAtLeast("FRESHET_COMPACT_EVERY", c.CompactEvery, time.Second),
		settings.CheckAtLeast("FRESHET_GC_EVERY", c.GcEvery, 0),
		settings.CheckBetween("FRESHET_BEACON_EVERY", c.BeaconEvery, events.MinBeaconEvery, events.MaxBeaconEvery),
		settings.CheckAtLeast("FRESHET_PUBLISHES", c.Publishes, 1),
		settings.CheckAtLeast("FRESHET_PATCHES", c.Patches, 1),
		settings.CheckAtLeast("FRESHET_READS", c.Reads, 0),
		settings.CheckAtLeast("FRESHET_BODY_BYTES", c.BodyBytes, 1),
		settings.CheckAtLeast("FRESHET_TEXT_BYTES", c.TextBytes, 1),
		settings.CheckAtLeast("FRESHET_BODY_STALL", c.BodyStall, time.Second),
		settings.CheckAtLeast("FRESHET_BODY_RATE", c.BodyRate, 1),
		settings.CheckAtLeast("FRESHET_BODY_TIME", c.BodyTime, time.Second),
	}
	if c.GcGrace != 0 {
		errs = append(errs, settings.CheckAtLeast("FRESHET_GC_GRACE", c.GcGrace, keep.MinGrace))
	}
	if c.RedisURL != "" {
		errs = append(errs, settings.CheckURL("FRESHET_REDIS_URL", c.RedisURL, "redis", "rediss", "unix"))
	}
	if len(c.Source) > dataset.MaxSourceBytes {
		errs = append(errs, fmt.Errorf("%w: FRESHET_SOURCE has %d bytes: the most is %d", settings.ErrSettings, len(c.Source), dataset.MaxSourceBytes))
	}
	return errors.Join(errs...)
}
