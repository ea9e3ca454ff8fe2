package relay

import (
	"errors"
	"log/slog"
	"time"

	"freshet.dev/services/internal/settings"
)

// Config configures a relay. Its fields are read from the environment by package settings.
type Config struct {
	Listen    string        `split_words:"true" default:":8481" desc:"address to listen on, host:port; port 0 takes any free one"`
	LogLevel  slog.Level    `split_words:"true" default:"info" desc:"least level that is logged: debug, info, warn or error"`
	StopGrace time.Duration `split_words:"true" default:"20s" desc:"how long requests may take to finish when the relay stops"`

	StoreURL settings.URL `split_words:"true" desc:"the store, dir:///path or s3://bucket/prefix, or another relay, http://host:port; required"`
	RedisURL settings.URL `split_words:"true" desc:"the catalog's Redis, redis://host:port; without it the store is asked for the newest version"`

	RelayCacheBytes    settings.Bytes `split_words:"true" default:"256MiB" desc:"memory for objects, whatever the number of clients"`
	RelayCacheTTL      time.Duration  `split_words:"true" default:"15m" desc:"how long a segment stays in memory after its last use"`
	RelayResponses     int            `split_words:"true" default:"1024" desc:"how many responses may be in progress; more are told to come again"`
	RelayOriginReads   int            `split_words:"true" default:"16" desc:"how many reads of the store may be in progress"`
	RelayOriginTimeout time.Duration  `split_words:"true" default:"10s" desc:"how long the store may take for one segment (256 KiB)"`
	RelayReadAhead     settings.Bytes `split_words:"true" default:"4MiB" desc:"the most that one read of the store asks for, of what a client that reads on will need; 0 reads nothing ahead"`
	RelayWriteStall    time.Duration  `split_words:"true" default:"30s" desc:"how long a client may take to receive 256 KiB before it is cut off"`
}

// minCacheBytes holds four times the default number of origin reads in segments.
const minCacheBytes = settings.Bytes(16 << 20)

// Validate says everything that is wrong with c, by variable.
func (c *Config) Validate() error {
	errs := []error{
		settings.CheckListen(c.Listen),
		settings.CheckURL("FRESHET_STORE_URL", c.StoreURL, "dir", "s3", "http", "https"),
		settings.CheckAtLeast("FRESHET_STOP_GRACE", c.StopGrace, 0),
		settings.CheckAtLeast("FRESHET_RELAY_CACHE_BYTES", c.RelayCacheBytes, minCacheBytes),
		settings.CheckAtLeast("FRESHET_RELAY_CACHE_TTL", c.RelayCacheTTL, time.Second),
		settings.CheckAtLeast("FRESHET_RELAY_RESPONSES", c.RelayResponses, 1),
		settings.CheckAtLeast("FRESHET_RELAY_ORIGIN_READS", c.RelayOriginReads, 1),
		settings.CheckAtLeast("FRESHET_RELAY_ORIGIN_TIMEOUT", c.RelayOriginTimeout, time.Second),
		settings.CheckBetween("FRESHET_RELAY_READ_AHEAD", c.RelayReadAhead, 0, c.RelayCacheBytes/8),
		settings.CheckAtLeast("FRESHET_RELAY_WRITE_STALL", c.RelayWriteStall, time.Second),
	}
	if c.RedisURL != "" {
		errs = append(errs, settings.CheckURL("FRESHET_REDIS_URL", c.RedisURL, "redis", "rediss", "unix"))
	}
	return errors.Join(errs...)
}
