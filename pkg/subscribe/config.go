package subscribe

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// ErrConfig is wrapped by every error that refuses a [Config]. The message names the field.
var ErrConfig = errors.New("unusable subscribe configuration")

// Defaults of the fields of a [Config] that are zero.
const (
	DefaultLanes        = 4
	DefaultStallTimeout = 30 * time.Second
	DefaultRetryInitial = 200 * time.Millisecond
	DefaultRetryMax     = 30 * time.Second
	DefaultBeaconWithin = 15 * time.Second
	DefaultConfirmAfter = 30 * time.Second
)

// Config says what to subscribe to and how.
type Config struct {
	// NATS is the URL of the NATS servers that carry the event log, several separated by commas. Required.
	NATS string
	// NATSOptions are further options of the connection, such as credentials.
	NATSOptions []nats.Option
	// Namespace is that of the environment, which keeps it apart from others on the same NATS and Redis; the publisher and
	// the relays have the same. Empty is the default namespace. A service that reads settings from the environment takes it
	// from FRESHET_NAMESPACE, as the programs do.
	Namespace string
	// Stream is the name of the JetStream stream; empty means the default of pkg/events.
	Stream string
	// Redis is the URL of the catalog's Redis, redis://[user:password@]host:port/db, in which the instance keeps a record of
	// itself for half a minute at a time, so that one that dies without a word is missed. Empty means none: then only NATS
	// tells of the instance. Nothing else needs Redis or waits for it.
	Redis string
	// Relays are the base URLs of the relays, in any order, and written the same way for all instances: each object is
	// asked of the same relay first, and of the others when that one fails. At least one.
	Relays []string
	// Datasets are the names of the datasets. At least one.
	Datasets []string

	// CacheDir is a folder of this instance's own, in which the last good version of each dataset is kept for the
	// next start. It is created when missing, and needs room for three versions (see Boot guard). Empty means none: then a restarted
	// instance serves nothing until a relay answers, and a version that kills the process kills it at every restart.
	CacheDir string
	// ConfirmAfter is how long a process must live after it began to serve a version until that is confirmed. A version that two
	// processes died of before is quarantined (see Boot guard). Zero means DefaultConfirmAfter. It has no effect without CacheDir.
	ConfirmAfter time.Duration
	// Instance is this instance's name in the fleet; empty means "<host>-<pid>".
	Instance string

	// Lanes is how many datasets are refreshed at a time, and of how many eager views records are decoded beside that; zero
	// means DefaultLanes, and never more than there are datasets.
	Lanes int
	// Workers is how many goroutines decode and index in each of these refreshes; zero means GOMAXPROCS, at most 4.
	Workers int
	// StallTimeout is how long a refresh may go without any progress before it is cancelled and tried again; also while
	// relays say that they are busy, or while a relay is away in the middle of an object. There is no limit for a whole
	// refresh. Zero means DefaultStallTimeout.
	StallTimeout time.Duration
	// RetryInitial and RetryMax: what failed is tried again after RetryInitial, then after twice as long each time up
	// to RetryMax, each time give or take half, forever. Zero means DefaultRetryInitial and DefaultRetryMax.
	RetryInitial, RetryMax time.Duration

	// BeaconWithin is how long a dataset stays fresh without a beacon; zero means DefaultBeaconWithin, three periods of the
	// publisher's default. A beacon that names its period is trusted for three of those, and at most four times BeaconWithin.
	BeaconWithin time.Duration

	// Log is where to say what happens; nil means nowhere.
	Log *slog.Logger
	// Observer is told what happens, for metrics.
	Observer Observer

	disk *cachedir.Disk // of CacheDir, in tests; nil for that of the machine
}

func (c Config) withDefaults() (Config, error) {
	if c.Lanes == 0 {
		c.Lanes = DefaultLanes
	}
	c.Lanes = min(c.Lanes, len(c.Datasets))
	if c.StallTimeout == 0 {
		c.StallTimeout = DefaultStallTimeout
	}
	if c.BeaconWithin == 0 {
		c.BeaconWithin = DefaultBeaconWithin
	}
	if c.ConfirmAfter == 0 {
		c.ConfirmAfter = DefaultConfirmAfter
	}
	if c.RetryMax == 0 {
		c.RetryMax = max(DefaultRetryMax, c.RetryInitial)
	}
	if c.RetryInitial == 0 {
		c.RetryInitial = min(DefaultRetryInitial, c.RetryMax)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("%w: Instance is empty, and the host's name cannot be had: %w", ErrConfig, err)
		}
		c.Instance = host + "-" + strconv.Itoa(os.Getpid())
	}
	c.Datasets = slices.Clone(c.Datasets)
	return c, nil
}

// Check says why c cannot be used; nil means that it can. It looks at no server and no folder.
func (c Config) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
	}
	if err := events.CheckURL(c.NATS); err != nil {
		return bad("NATS %w", err)
	}
	if err := dataset.CheckNamespace(c.Namespace); err != nil {
		return bad("Namespace (FRESHET_NAMESPACE): %w", err)
	}
	if c.Redis != "" {
		if err := checkRedis(c.Redis); err != nil {
			return bad("Redis %w", err)
		}
	}
	// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-6.md
	if strings.ContainsAny(c.Stream, " \t\r\n.*>/\\") {
		return bad("Stream is %q; a stream's name has no space and none of . * > / \\", c.Stream)
	}
	if len(c.Datasets) == 0 {
		return bad("Datasets is empty; name at least one")
	}
	for i, name := range c.Datasets {
		if err := dataset.CheckName(name); err != nil {
			return bad("Datasets[%d]: %w", i, err)
		}
		if slices.Contains(c.Datasets[:i], name) {
			return bad("Datasets[%d]: %s is named twice", i, name)
		}
	}
	for _, f := range []struct {
		field string
		value int64
	}{
		{"Lanes", int64(c.Lanes)},
		{"Workers", int64(c.Workers)},
		{"StallTimeout", int64(c.StallTimeout)},
		{"BeaconWithin", int64(c.BeaconWithin)},
		{"ConfirmAfter", int64(c.ConfirmAfter)},
		{"RetryInitial", int64(c.RetryInitial)},
		{"RetryMax", int64(c.RetryMax)},
	} {
		if f.value < 0 {
			return bad("%s must not be negative", f.field)
		}
	}
	if c.RetryMax != 0 && c.RetryMax < c.RetryInitial {
		return bad("RetryMax is %s, below RetryInitial, which is %s", c.RetryMax, c.RetryInitial)
	}
	if err := c.pull().Check(); err != nil {
		return bad("%w", err) // its message names Relays
	}
	return nil
}

// pull returns the configuration of the client of the relays. Each of its waits is shorter than StallTimeout, and it
// takes a step after each, so that the watch over the refresh finds hangs and nothing else. All its waits for one byte
// together are as long as StallTimeout: then the refresh fails with what the relays said.
func (c Config) pull() pull.Config {
	stall := c.StallTimeout
	if stall == 0 {
		stall = DefaultStallTimeout
	}
	half := max(stall/2, 1)
	return pull.Config{
		Relays: c.Relays, HeaderTimeout: min(pull.DefaultHeaderTimeout, half), StallTimeout: min(pull.DefaultStallTimeout, half),
		Patience: max(stall, 1),
	}
}
