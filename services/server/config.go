package server

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/index"
	"freshet.dev/services/internal/settings"
)

// Config configures a server. Package settings reads its fields from the environment.
type Config struct {
	Listen    string        `split_words:"true" default:":8482" desc:"address to listen on, host:port; port 0 takes any free one"`
	LogLevel  slog.Level    `split_words:"true" default:"info" desc:"lowest level that is logged: debug (with each lookup), info, warn or error"`
	StopGrace time.Duration `split_words:"true" default:"20s" desc:"how long requests may take to finish when the server stops"`

	Datasets  settings.List `split_words:"true" desc:"the datasets to keep in memory, separated by commas; required"`
	NatsURL   settings.URL  `split_words:"true" desc:"NATS, for the events: nats://host:port, several separated by commas; required"`
	Relays    settings.List `split_words:"true" desc:"the relays, http://host:port, separated by commas, in any order but written the same way for all servers; required"`
	RedisURL  settings.URL  `split_words:"true" desc:"Redis, redis://host:port, for the instance's record; without it only NATS knows the instance"`
	Namespace string        `split_words:"true" desc:"keeps environments that share NATS and Redis apart: 1 to 32 of a-z, 0-9, _ and -, the same for all programs of an environment; the default namespace if not set"`
	CacheDir  string        `split_words:"true" desc:"folder for this instance alone that keeps the last good versions; without it a restarted instance serves nothing until a relay answers, and there is no boot guard"`
	Instance  string        `split_words:"true" desc:"name of this instance in the fleet; <host>-<pid> if not set"`

	Indexes settings.List `split_words:"true" desc:"secondary indexes, such as cities:country for equality, cities:name^ for ranges and prefixes too, ranges:cidr/ip or ranges:first..last/ip for the network around an address; separated by commas"`

	Labels    settings.List `split_words:"true" desc:"labels by which operators choose instances, such as zone=a,tier=canary: at most 16, each name and value 1 to 63 of a-z, 0-9, ., _ and -, beginning and ending with a letter or digit"`
	RemoteGet bool          `split_words:"true" default:"false" desc:"whether anyone who may use NATS may read records from this instance with freshet get --instance, --label or --all; false: the instance refuses"`

	ReadyMaxLag time.Duration `split_words:"true" default:"0" desc:"how long a newer version may be known and not served before /readyz answers 503; 0 means no limit"`

	ConfirmAfter time.Duration `split_words:"true" default:"30s" desc:"how long the server must live with a version before the version is confirmed; after two deaths before that the version is quarantined; needs FRESHET_CACHE_DIR"`

	KeepRoots int `split_words:"true" default:"15" desc:"how much memory earlier versions of a dataset may take in addition to the served one, in percent of that, so that a rollback to one of them needs no pull; 0 keeps none, the most is 100"`

	BeaconWithin time.Duration `split_words:"true" default:"15s" desc:"how long a dataset stays fresh before its first beacon; later, three periods that the beacon names, at most four times this"`

	PinFor time.Duration `split_words:"true" default:"24h" desc:"how old a pin (freshet pin) may be until a pinned dataset is stale, if there is a newer version; it stays pinned; 0 means 24h"`

	Workers      int           `split_words:"true" default:"0" desc:"goroutines that decode and index in each refresh; 0 means one for each processor, at most 4; all refreshes and heavy requests together compute on one processor less than there are"`
	LaneQueue    int           `split_words:"true" default:"16" desc:"how many heavy requests, such as scans, may wait for a processor; more get 503 with a Retry-After; 0 means 16"`
	LaneWait     time.Duration `split_words:"true" default:"2s" desc:"how long a heavy request may wait for a processor before it gets 503 with a Retry-After; 0 means 2s"`
	StallTimeout time.Duration `split_words:"true" default:"30s" desc:"how long a refresh may make no progress before it is cancelled and retried"`

	MaxRecords    int            `split_words:"true" default:"0" desc:"maximum records of each dataset; a version with more is refused and the version before stays served; 0 means no bound"`
	MaxBytes      settings.Bytes `split_words:"true" default:"0" desc:"maximum bytes of each dataset in memory, as freshet size estimates them; a version with more is refused; 0 means no bound"`
	MaxTotalBytes settings.Bytes `split_words:"true" default:"0" desc:"maximum bytes of all datasets together in memory; a version that would exceed it is refused until others shrink; 0 means no bound"`
	MinMemoryLeft settings.Bytes `split_words:"true" default:"0" desc:"bytes of memory that must stay free after a load, of the control group, the machine and GOMEMLIMIT; a version is refused until it fits; 0 means no bound"`

	WaitMax  time.Duration `split_words:"true" default:"10s" desc:"how long a lookup may wait for the version of its token (Freshet-At-Least), at most 30s; a lookup that does not say waits 1s; 0 means that none waits"`
	MaxWaits int           `split_words:"true" default:"1000" desc:"maximum lookups that wait for a version at a time; the next ones get 503"`

	BatchKeys  int            `split_words:"true" default:"1000" desc:"maximum keys in one batchGet or MGET"`
	BatchBytes settings.Bytes `split_words:"true" default:"16MiB" desc:"maximum bytes of values in the answer to one batchGet, MGET or HMGET"`

	Scans      int            `split_words:"true" default:"4" desc:"maximum scans at a time; another one gets 503; 0: the server refuses all scans"`
	ScanTime   time.Duration  `split_words:"true" default:"1m" desc:"how long one scan may take, also with a slow client, and so keep its version in memory; a scan of rows then ends with a cursor, one of groups fails"`
	ScanMemory settings.Bytes `split_words:"true" default:"16MiB" desc:"maximum bytes of the groups and aggregates of one scan"`

	Feeds      int           `split_words:"true" default:"64" desc:"maximum change feeds that are open; more are refused with 503; 0 refuses all"`
	FeedStall  time.Duration `split_words:"true" default:"10s" desc:"how long the reader of a change feed may take to receive 64 KiB before it is cut"`
	FeedBehind time.Duration `split_words:"true" default:"1m" desc:"how long the reader of a change feed may take for a version, while its feed keeps the table of an earlier one in memory, before it is cut"`

	RespListen       string         `split_words:"true" desc:"port for lookups in Redis' protocol: a port alone, such as 6380, listens on loopback; host:port, such as 0.0.0.0:6380, elsewhere; off if not set"`
	RespPasswordFile string         `split_words:"true" desc:"file with the password that clients of Redis' protocol send with AUTH; without it every client that reaches the port may read"`
	RespConnections  int            `split_words:"true" default:"10000" desc:"maximum clients of Redis' protocol that are connected at a time"`
	RespIdle         time.Duration  `split_words:"true" default:"0" desc:"how long a client of Redis' protocol may send nothing before it is disconnected; 0 means no bound"`
	RespOutputBytes  settings.Bytes `split_words:"true" default:"32MiB" desc:"maximum bytes that wait for one client of Redis' protocol, of replies and invalidations that it does not read; a client is disconnected at more; at least 1MiB more than FRESHET_BATCH_BYTES; for all clients together 8 times as much"`
	RespTrackedKeys  int            `split_words:"true" default:"1000000" desc:"maximum keys that the client-side caches of all clients of Redis' protocol track together (CLIENT TRACKING), each counted once for each client; past it a random key is invalidated; 0 switches tracking off"`
}

// Validate returns all errors of c, each with the name of its variable.
func (c *Config) Validate() error {
	errs := []error{
		settings.CheckListen(c.Listen),
		settings.CheckNamespace(c.Namespace),
		settings.CheckURL("FRESHET_NATS_URL", c.NatsURL, "nats", "tls", "ws", "wss"),
		settings.CheckAtLeast("FRESHET_STOP_GRACE", c.StopGrace, 0),
		settings.CheckAtLeast("FRESHET_READY_MAX_LAG", c.ReadyMaxLag, 0),
		settings.CheckAtLeast("FRESHET_CONFIRM_AFTER", c.ConfirmAfter, time.Millisecond),
		settings.CheckBetween("FRESHET_KEEP_ROOTS", c.KeepRoots, 0, 100),
		settings.CheckAtLeast("FRESHET_BEACON_WITHIN", c.BeaconWithin, 0),
		settings.CheckAtLeast("FRESHET_PIN_FOR", c.PinFor, 0),
		settings.CheckAtLeast("FRESHET_WORKERS", c.Workers, 0),
		settings.CheckAtLeast("FRESHET_LANE_QUEUE", c.LaneQueue, 0),
		settings.CheckAtLeast("FRESHET_LANE_WAIT", c.LaneWait, 0),
		settings.CheckAtLeast("FRESHET_STALL_TIMEOUT", c.StallTimeout, time.Second),
		settings.CheckAtLeast("FRESHET_MAX_RECORDS", c.MaxRecords, 0),
		settings.CheckAtLeast("FRESHET_MAX_BYTES", c.MaxBytes, 0),
		settings.CheckAtLeast("FRESHET_MAX_TOTAL_BYTES", c.MaxTotalBytes, 0),
		settings.CheckAtLeast("FRESHET_MIN_MEMORY_LEFT", c.MinMemoryLeft, 0),
		settings.CheckBetween("FRESHET_WAIT_MAX", c.WaitMax, 0, 30*time.Second),
		settings.CheckAtLeast("FRESHET_MAX_WAITS", c.MaxWaits, 1),
		settings.CheckAtLeast("FRESHET_BATCH_KEYS", c.BatchKeys, 1),
		settings.CheckAtLeast("FRESHET_BATCH_BYTES", c.BatchBytes, dataset.MaxValueBytes),
		settings.CheckAtLeast("FRESHET_SCANS", c.Scans, 0),
		settings.CheckAtLeast("FRESHET_SCAN_TIME", c.ScanTime, 10*time.Millisecond),
		settings.CheckAtLeast("FRESHET_SCAN_MEMORY", c.ScanMemory, 64<<10),
		settings.CheckAtLeast("FRESHET_FEEDS", c.Feeds, 0),
		settings.CheckAtLeast("FRESHET_FEED_STALL", c.FeedStall, time.Second),
		settings.CheckAtLeast("FRESHET_FEED_BEHIND", c.FeedBehind, time.Second),
	}
	errs = append(errs, c.validateResp()...)
	if c.RedisURL != "" {
		errs = append(errs, settings.CheckURL("FRESHET_REDIS_URL", c.RedisURL, "redis", "rediss", "unix"))
	}
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{settings.ErrSettings}, args...)...))
	}
	if len(c.Relays) == 0 {
		bad("FRESHET_RELAYS is not set: want the URL of a relay, such as http://host:8481")
	}
	for _, relay := range c.Relays {
		errs = append(errs, settings.CheckURL("FRESHET_RELAYS", settings.URL(relay), "http", "https"))
	}
	if len(c.Datasets) == 0 {
		bad("FRESHET_DATASETS is not set: want the names of datasets, separated by commas")
	}
	if err := c.checkIndexes(); err != nil {
		bad("FRESHET_INDEXES: %w", err)
	}
	if _, err := fleet.ParseLabels(c.Labels); err != nil {
		bad("FRESHET_LABELS: %w", err)
	}
	for i, name := range c.Datasets {
		if err := dataset.CheckName(name); err != nil {
			bad("FRESHET_DATASETS: %w", err)
		} else if slices.Contains(c.Datasets[:i], name) {
			bad("FRESHET_DATASETS: %s is named twice", name)
		}
	}
	return errors.Join(errs...)
}

// checkIndexes returns an error if an index cannot work.
func (c *Config) checkIndexes() error {
	specs, err := index.Parse(c.Indexes)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		if !slices.Contains(c.Datasets, name) {
			return fmt.Errorf("dataset %s is not in FRESHET_DATASETS, which has %s", name, strings.Join(c.Datasets, ", "))
		}
	}
	return nil
}
