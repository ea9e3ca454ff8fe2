package server

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/settings"
)

// Config configures a server. Its fields are read from the environment by package settings.
type Config struct {
	Listen    string        `split_words:"true" default:":8482" desc:"address to listen on, host:port; port 0 takes any free one"`
	LogLevel  slog.Level    `split_words:"true" default:"info" desc:"least level that is logged: debug (with each lookup), info, warn or error"`
	StopGrace time.Duration `split_words:"true" default:"20s" desc:"how long requests may take to finish when the server stops"`

	Datasets  settings.List `split_words:"true" desc:"the datasets to keep in memory, with commas between them; required"`
	NatsURL   settings.URL  `split_words:"true" desc:"NATS, for the events: nats://host:port, several with commas between them; required"`
	Relays    settings.List `split_words:"true" desc:"the relays, http://host:port, in any order but written the same way for all servers, with commas between them; required"`
	RedisURL  settings.URL  `split_words:"true" desc:"Redis, redis://host:port, for the instance's record; without it only NATS tells of the instance"`
	Namespace string        `split_words:"true" desc:"keeps environments that share NATS and Redis apart: 1 to 32 of a-z, 0-9, _ and -, the same for all programs of an environment; the default namespace if not set"`
	CacheDir  string        `split_words:"true" desc:"folder of this instance's own for the last good versions; without it a restarted instance serves nothing until a relay answers, and there is no boot guard"`
	Instance  string        `split_words:"true" desc:"this instance's name in the fleet; <host>-<pid> if not set"`

	ReadyMaxLag time.Duration `split_words:"true" default:"0" desc:"how long a newer version may be known and not served before /readyz answers 503; 0: however long, the instance keeps serving"`

	ConfirmAfter time.Duration `split_words:"true" default:"30s" desc:"how long the server must live after it began to serve a version until that version is confirmed; after two deaths before that the version is quarantined; needs FRESHET_CACHE_DIR"`

	BeaconWithin time.Duration `split_words:"true" default:"15s" desc:"how long a dataset stays fresh without a beacon; beacons of a longer period are trusted for at most four times that"`

	Workers      int           `split_words:"true" default:"0" desc:"goroutines of one refresh that decode and index; 0: one for each processor, at most 4"`
	StallTimeout time.Duration `split_words:"true" default:"30s" desc:"how long a refresh may make no progress before it is tried again"`

	BatchKeys  int            `split_words:"true" default:"1000" desc:"most keys in one batchGet"`
	BatchBytes settings.Bytes `split_words:"true" default:"16MiB" desc:"most bytes of values in the answer to one batchGet"`
}

// Validate says everything that is wrong with c, by variable.
func (c *Config) Validate() error {
	errs := []error{
		settings.CheckListen(c.Listen),
		settings.CheckNamespace(c.Namespace),
		settings.CheckURL("FRESHET_NATS_URL", c.NatsURL, "nats", "tls", "ws", "wss"),
		settings.CheckAtLeast("FRESHET_STOP_GRACE", c.StopGrace, 0),
		settings.CheckAtLeast("FRESHET_READY_MAX_LAG", c.ReadyMaxLag, 0),
		settings.CheckAtLeast("FRESHET_CONFIRM_AFTER", c.ConfirmAfter, time.Millisecond),
		settings.CheckAtLeast("FRESHET_BEACON_WITHIN", c.BeaconWithin, 0),
		settings.CheckAtLeast("FRESHET_WORKERS", c.Workers, 0),
		settings.CheckAtLeast("FRESHET_STALL_TIMEOUT", c.StallTimeout, time.Second),
		settings.CheckAtLeast("FRESHET_BATCH_KEYS", c.BatchKeys, 1),
		settings.CheckAtLeast("FRESHET_BATCH_BYTES", c.BatchBytes, dataset.MaxValueBytes),
	}
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
		bad("FRESHET_DATASETS is not set: want the names of datasets, with commas between them")
	}
	for i, name := range c.Datasets {
		if err := dataset.CheckName(name); err != nil {
			bad("FRESHET_DATASETS: %w", err)
		} else if slices.Contains(c.Datasets[:i], name) {
			bad("FRESHET_DATASETS: %s stands twice", name)
		}
	}
	return errors.Join(errs...)
}
