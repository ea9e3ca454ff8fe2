package subscribe

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/internal/natslink"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/memory"
)

// ErrConfig is returned for a [Config] that cannot work. The message names the field.
var ErrConfig = errors.New("unusable subscribe configuration")

// Defaults of the fields of a [Config] that are zero.
const (
	DefaultLanes        = 4
	DefaultStallTimeout = 30 * time.Second
	DefaultRetryInitial = 200 * time.Millisecond
	DefaultRetryMax     = 30 * time.Second
	DefaultBeaconWithin = 15 * time.Second
	DefaultConfirmAfter = 30 * time.Second
	DefaultPinFor       = 24 * time.Hour
	DefaultKeepRoots    = 15
)

// Config configures a [Subscriber].
type Config struct {
	// NATS is the URL of the NATS servers that carry the event log, several separated by commas. Either NATS or NATSConn is
	// required.
	NATS string
	// NATSOptions are additional options of the connection to NATS, such as credentials.
	NATSOptions []nats.Option
	// NATSConn is a connection of the caller, used in place of NATS and NATSOptions. The subscriber never closes it, and the caller
	// keeps it open until Close has returned. Make it with nats.MaxReconnects(-1): a connection that has given up reconnecting
	// leaves the datasets stale. The caller may use it for other things, but Open fails while it serves another open Subscriber:
	// Open adds to its handler of asynchronous errors, and Close restores the handler that Open found.
	NATSConn *nats.Conn
	// Namespace separates environments that share NATS and Redis. The publisher, the relays and the instances of an environment
	// have the same. Empty is the default namespace. The programs read it from FRESHET_NAMESPACE; a service that reads its
	// settings from the environment should too.
	Namespace string
	// Stream is the name of the JetStream stream; empty means the default of pkg/events.
	Stream string
	// Redis is the URL of the catalog's Redis, redis://[user:password@]host:port/db. The instance keeps a record of itself there
	// that expires after half a minute, so that an instance that dies shows up as missing. Without Redis only NATS knows the
	// instance. Nothing else needs Redis or waits for it.
	Redis string
	// Relays are the base URLs of the relays, in any order. At least one. Write a URL the same way for all instances: for each
	// object they then try the same relay first, and the others when that one fails.
	Relays []string
	// Transport sends all requests to the relays. Nil means a transport of the subscriber's own, whose connections Close closes.
	// A given transport decides on proxies, TLS and credentials, and stays the caller's: the subscriber closes none of its
	// connections. The transport must not retry requests or limit their duration, because a pull of a large object may take long;
	// StallTimeout finds those that hang. An http.Client's cookies and Timeout have no use here, so there is no field for one.
	Transport http.RoundTripper
	// Datasets are the names of the datasets. At least one.
	Datasets []string

	// Indexes are the secondary indexes of datasets, for [Dataset.Indexes]. [index.Parse] makes them of texts such as cities:country; the
	// server reads those from FRESHET_INDEXES.
	Indexes map[string][]index.Spec

	// CacheDir is a folder for this instance alone, which keeps the last good version of each dataset for the next start. It is
	// created if it is missing, and needs space for three versions (see Boot guard). Without it a restarted instance serves
	// nothing until a relay answers, and a version that kills the process kills it at every restart.
	CacheDir string
	// ConfirmAfter is how long a process must live with a version before the version is confirmed. A version that two processes
	// died of before that is quarantined (see Boot guard). Zero means DefaultConfirmAfter. Without CacheDir the field has no effect.
	ConfirmAfter time.Duration
	// Instance is the name of this instance in the fleet; empty means "<host>-<pid>".
	Instance string
	// Labels are names and values by which operators choose instances, such as tier=canary: at most 16, each name and value 1 to 63
	// of a-z, 0-9, ., _ and -, beginning and ending with a letter or digit (see [fleet.CheckLabels]). The status has them.
	Labels map[string]string
	// RemoteGet allows anyone who may use the NATS account to read the records that this instance serves, by [fleet.Get]. If it is
	// false the instance refuses.
	RemoteGet bool

	// KeepRoots is how much memory earlier versions of a dataset may hold in addition to the served table, in percent of that table. A rollback
	// to a version whose table is kept is served without a pull. Versions that deltas lead to share most of their memory; a version that was
	// loaded from a snapshot shares none, so that no table before it is kept. Zero means DefaultKeepRoots, and -1 keeps none.
	KeepRoots int

	// Lanes is the number of datasets that are refreshed at a time, and of eager views that decode at a time. Zero means
	// DefaultLanes. More lanes than datasets are not used. It does not change the lanes of [Subscriber.Lanes], which bound processors
	// and requests: refreshes share those.
	Lanes int
	// Workers is the number of goroutines that decode and index in each refresh; zero means GOMAXPROCS, at most 4. As many of them compute
	// at a time as the CPU lane has places.
	Workers int
	// LaneQueue is how many calls of [lane.Lane.Do] wait in the CPU lane of [Subscriber.Lanes] before further ones are refused. Four times as
	// many wait in the I/O lane. LaneWait is how long each waits. Zero means [lane.DefaultQueue] and [lane.DefaultWait].
	LaneQueue int
	LaneWait  time.Duration
	// StallTimeout is how long a refresh may make no progress before it is cancelled and retried. The waits for relays that are
	// busy, or down in the middle of an object, count too. A whole refresh has no limit. Zero means DefaultStallTimeout.
	StallTimeout time.Duration
	// RetryInitial is the pause before the first retry of a failed operation. The pause doubles with each retry up to RetryMax,
	// with a jitter of half of it, and retries never end. Zero means DefaultRetryInitial and DefaultRetryMax.
	RetryInitial, RetryMax time.Duration

	// BeaconWithin is how long a dataset stays fresh without a beacon until a beacon names its period. Zero means
	// DefaultBeaconWithin, three periods of the publisher's default. A beacon that names its period is trusted for three periods,
	// but at most four times BeaconWithin.
	BeaconWithin time.Duration

	// PinFor is how old a pin may be until a pinned dataset is stale, if there is a newer version: pins are for emergencies, and a forgotten
	// one must not go unnoticed. The instance stays pinned. Zero means DefaultPinFor.
	PinFor time.Duration

	// Log receives the log; nil discards it.
	Log *slog.Logger
	// Observer receives events, for metrics.
	Observer Observer

	// Bounds are what the instance may keep in memory; the zero Bounds are none.
	Bounds Bounds

	memoryLeft func() (memory.Room, error) // in tests; nil for the process's

	disk *cachedir.Disk // the file system of CacheDir in tests; nil for the machine's
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
	if c.PinFor == 0 {
		c.PinFor = DefaultPinFor
	}
	if c.ConfirmAfter == 0 {
		c.ConfirmAfter = DefaultConfirmAfter
	}
	if c.KeepRoots == 0 {
		c.KeepRoots = DefaultKeepRoots
	}
	c.KeepRoots = max(c.KeepRoots, 0)
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
			return c, fmt.Errorf("%w: Instance is empty, and the name of the host is unknown: %w", ErrConfig, err)
		}
		c.Instance = host + "-" + strconv.Itoa(os.Getpid())
	}
	c.Datasets, c.Labels, c.Indexes = slices.Clone(c.Datasets), maps.Clone(c.Labels), maps.Clone(c.Indexes)
	return c, nil
}

// Check returns an [ErrConfig] if c cannot work. Check contacts no server and opens no folder.
func (c Config) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
	}
	switch {
	case c.NATSConn == nil:
		if err := natslink.CheckURL(c.NATS); err != nil {
			return bad("NATS %w", err)
		}
	case c.NATS != "" || len(c.NATSOptions) > 0:
		return bad("NATSConn is set together with NATS or NATSOptions; set either the connection or its URL and options")
	case c.NATSConn.IsClosed():
		return bad("NATSConn is closed")
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
	if err := fleet.CheckLabels(c.Labels); err != nil {
		return bad("Labels (FRESHET_LABELS): %w", err)
	}
	if err := c.checkDatasets(); err != nil {
		return err
	}
	if field := c.negative(); field != "" {
		return bad("%s must not be negative", field)
	}
	if field := c.Bounds.check(); field != "" {
		return bad("Bounds.%s must not be negative", field)
	}
	if c.KeepRoots < -1 || c.KeepRoots > 100 {
		return bad("KeepRoots (FRESHET_KEEP_ROOTS) is %d; want a percentage, up to 100", c.KeepRoots)
	}
	if c.RetryMax != 0 && c.RetryMax < c.RetryInitial {
		return bad("RetryMax is %s, below RetryInitial, which is %s", c.RetryMax, c.RetryInitial)
	}
	if err := c.pull().Check(); err != nil {
		return bad("%w", err) // its message names Relays
	}
	return nil
}

// checkDatasets returns an [ErrConfig] if the name of a dataset or an index cannot work.
func (c Config) checkDatasets() error {
	if len(c.Datasets) == 0 {
		return fmt.Errorf("%w: Datasets is empty; name at least one", ErrConfig)
	}
	for i, name := range c.Datasets {
		if err := dataset.CheckName(name); err != nil {
			return fmt.Errorf("%w: Datasets[%d]: %w", ErrConfig, i, err)
		}
		if slices.Contains(c.Datasets[:i], name) {
			return fmt.Errorf("%w: Datasets[%d]: %s is named twice", ErrConfig, i, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Indexes)) {
		if !slices.Contains(c.Datasets, name) {
			return fmt.Errorf("%w: Indexes (FRESHET_INDEXES): dataset %.80q is not one of Datasets (FRESHET_DATASETS), which has %s", ErrConfig, name, strings.Join(c.Datasets, ", "))
		}
		if err := index.Check(c.Indexes[name]); err != nil {
			return fmt.Errorf("%w: Indexes (FRESHET_INDEXES): dataset %s: %w", ErrConfig, name, err)
		}
	}
	return nil
}

// negative returns the name of a field that is negative and must not be; "" if none is.
func (c Config) negative() string {
	for _, f := range []struct {
		field string
		value int64
	}{
		{"Lanes", int64(c.Lanes)},
		{"Workers", int64(c.Workers)},
		{"LaneQueue", int64(c.LaneQueue)},
		{"LaneWait", int64(c.LaneWait)},
		{"StallTimeout", int64(c.StallTimeout)},
		{"BeaconWithin", int64(c.BeaconWithin)},
		{"ConfirmAfter", int64(c.ConfirmAfter)},
		{"PinFor", int64(c.PinFor)},
		{"RetryInitial", int64(c.RetryInitial)},
		{"RetryMax", int64(c.RetryMax)},
	} {
		if f.value < 0 {
			return f.field
		}
	}
	return ""
}

// pull returns the configuration of the client of the relays. Each of its waits is shorter than StallTimeout and ends with
// progress, so that the stall timeout finds only operations that hang. All waits for one byte together take StallTimeout: then
// the refresh fails with the relays' errors.
func (c Config) pull() pull.Config {
	stall := c.StallTimeout
	if stall == 0 {
		stall = DefaultStallTimeout
	}
	half := max(stall/2, 1)
	return pull.Config{
		Relays: c.Relays, Transport: c.Transport, HeaderTimeout: min(pull.DefaultHeaderTimeout, half), StallTimeout: min(pull.DefaultStallTimeout, half),
		Patience: max(stall, 1),
	}
}
