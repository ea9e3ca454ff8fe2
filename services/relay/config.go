package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"freshet.dev/services/internal/settings"
	"freshet.dev/services/relay/internal/wire"
)

// Config configures a relay. Its fields are read from the environment by package settings.
type Config struct {
	Listen    string        `split_words:"true" default:":8481" desc:"address to listen on, host:port; port 0 takes any free one"`
	LogLevel  slog.Level    `split_words:"true" default:"info" desc:"lowest level that is logged: debug, info, warn or error"`
	StopGrace time.Duration `split_words:"true" default:"20s" desc:"how long requests may take to finish when the relay stops"`

	StoreURL  settings.URL `split_words:"true" desc:"the store, dir:///path or s3://bucket/prefix, or other relays, http://host:port, in any order but written the same way for all relays, with commas between them; required"`
	RedisURL  settings.URL `split_words:"true" desc:"the catalog's Redis, redis://host:port; it saves reads of the store while many instances ask for the newest version"`
	Namespace string       `split_words:"true" desc:"keeps environments that share NATS and Redis apart: 1 to 32 of a-z, 0-9, _ and -, the same for all programs of an environment; the default namespace if not set"`

	RelayCacheBytes    settings.Bytes `split_words:"true" default:"256MiB" desc:"memory for objects, whatever the number of clients; make it a quarter larger than the largest snapshot, or the relay reads that one from the store several times and logs it"`
	RelayCacheTTL      time.Duration  `split_words:"true" default:"15m" desc:"how long a segment stays in memory after its last use"`
	RelayResponses     int            `split_words:"true" default:"1024" desc:"how many responses may be in progress; more get 503 with a Retry-After"`
	RelayOriginReads   int            `split_words:"true" default:"16" desc:"how many reads of the store may be in progress"`
	RelayOriginTimeout time.Duration  `split_words:"true" default:"10s" desc:"how long the store may take for one segment (256 KiB)"`
	RelayReadAhead     settings.Bytes `split_words:"true" default:"4MiB" desc:"the most that one read of the store asks for, of what a client that reads on will need; never more than an eighth of the cache; 0 reads nothing ahead"`
	RelayWriteStall    time.Duration  `split_words:"true" default:"30s" desc:"how long a client may take to receive 256 KiB before it is cut off"`
	RelaySendBytes     settings.Bytes `split_words:"true" default:"256KiB" desc:"memory of the kernel for what one response has to send, at most what net.core.wmem_max allows; a client far away gets no more than this in a round trip"`
	RelayConnections   int            `split_words:"true" default:"0" desc:"how many connections may be open; at the bound, a new one closes the one that has been idle, or sending its header, for the longest; if there is none, the new one gets 503; 0: 256 more than FRESHET_RELAY_RESPONSES"`
	RelayCongestion    string         `split_words:"true" desc:"TCP congestion control for the relay's clients, such as reno for a network without losses; the system's if not set"`
}

// minCacheBytes holds four times the default number of origin reads in segments.
const minCacheBytes = settings.Bytes(16 << 20)

// Validate returns an error for each variable that is wrong.
func (c *Config) Validate() error {
	errs := []error{
		settings.CheckListen(c.Listen),
		settings.CheckNamespace(c.Namespace),
		c.checkStore(),
		settings.CheckAtLeast("FRESHET_STOP_GRACE", c.StopGrace, 0),
		settings.CheckAtLeast("FRESHET_RELAY_CACHE_BYTES", c.RelayCacheBytes, minCacheBytes),
		settings.CheckAtLeast("FRESHET_RELAY_CACHE_TTL", c.RelayCacheTTL, time.Second),
		settings.CheckAtLeast("FRESHET_RELAY_RESPONSES", c.RelayResponses, 1),
		settings.CheckAtLeast("FRESHET_RELAY_ORIGIN_READS", c.RelayOriginReads, 1),
		settings.CheckAtLeast("FRESHET_RELAY_ORIGIN_TIMEOUT", c.RelayOriginTimeout, time.Second),
		settings.CheckAtLeast("FRESHET_RELAY_READ_AHEAD", c.RelayReadAhead, 0),
		settings.CheckAtLeast("FRESHET_RELAY_WRITE_STALL", c.RelayWriteStall, time.Second),
		settings.CheckBetween("FRESHET_RELAY_SEND_BYTES", c.RelaySendBytes, wire.MinSendBytes, maxSendBytes),
		settings.CheckAtLeast("FRESHET_RELAY_CONNECTIONS", c.RelayConnections, 0),
		c.checkCongestion(),
	}
	if c.RedisURL != "" {
		errs = append(errs, settings.CheckURL("FRESHET_REDIS_URL", c.RedisURL, "redis", "rediss", "unix"))
	}
	return errors.Join(errs...)
}

// maxSendBytes is more than any network needs.
const maxSendBytes = settings.Bytes(1 << 30)

// moreConnections is how many connections may be idle while FRESHET_RELAY_RESPONSES are in progress. With 512, clients that stop within a
// body took a relay with a cache of 16 MiB to 70 to 82 MiB, and the documented bound is 80.
const moreConnections = 256

// OutsideBytes returns how much memory the relay may take outside of the Go heap: for objects, and of the kernel for responses.
func (c *Config) OutsideBytes() int64 {
	return int64(c.RelayCacheBytes) + int64(c.RelayResponses)*int64(c.RelaySendBytes)
}

// connections returns how many connections may be open.
func (c *Config) connections() int {
	if c.RelayConnections == 0 {
		return c.RelayResponses + moreConnections
	}
	return c.RelayConnections
}

// checkCongestion checks FRESHET_RELAY_CONGESTION.
func (c *Config) checkCongestion() error {
	if c.RelayCongestion == "" {
		return nil
	}
	if err := wire.CheckCongestion(c.RelayCongestion); err != nil {
		return fmt.Errorf("%w: FRESHET_RELAY_CONGESTION is %q: %w; name another one or leave it out", settings.ErrSettings, c.RelayCongestion, err)
	}
	return nil
}

// checkStore checks FRESHET_STORE_URL.
func (c *Config) checkStore() error {
	const variable = "FRESHET_STORE_URL"
	isURL := func(part string) bool { return strings.Contains(part, "://") }
	isStore := func(part string) bool { return isURL(part) && !isRelay(part) }
	// A folder's name may hold commas. A URL after a comma makes the value a list.
	if parts := strings.Split(c.StoreURL.Reveal(), ","); slices.ContainsFunc(parts[1:], isURL) && slices.ContainsFunc(parts, isStore) {
		return fmt.Errorf("%w: %s is %s: a list may hold relays only; want one store, dir:// or s3://, or relays, http:// or https://, with commas between them",
			settings.ErrSettings, variable, c.StoreURL)
	}
	upstreams := c.upstreams()
	if len(upstreams) == 0 {
		return settings.CheckURL(variable, c.StoreURL, "dir", "s3", "http", "https")
	}
	var errs []error
	for _, u := range upstreams {
		errs = append(errs, settings.CheckURL(variable, settings.URL(u), "http", "https"))
	}
	return errors.Join(errs...)
}

// upstreams returns the relays that FRESHET_STORE_URL names, or nil if it names a store.
func (c *Config) upstreams() []string {
	if !isRelay(c.StoreURL.Reveal()) {
		return nil
	}
	var urls settings.List
	_ = urls.UnmarshalText([]byte(c.StoreURL.Reveal())) // it accepts any text
	return urls
}

// isRelay reports whether the URL, or the first of several, is a relay's.
func isRelay(u string) bool {
	scheme, _, ok := strings.Cut(strings.TrimSpace(u), "://")
	return ok && slices.Contains([]string{"http", "https"}, strings.ToLower(scheme))
}
