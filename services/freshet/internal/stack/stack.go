// Package stack runs all of freshet in this process: NATS and Redis, a publisher, a relay and instances, which speak
// to each other over loopback as they would between machines. Nothing is passed by, and nothing is special but the
// addresses and the folders.
package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/settings"
)

// Config says what to run.
type Config struct {
	// Dir is the folder for everything that is kept: the store, the event log, the instances' caches. It is made if it
	// is missing, and belongs to one process at a time.
	Dir string
	// Host is the address to listen on.
	Host  string
	Ports Ports
	// Namespace is that of all services; empty is the default one.
	Namespace string
	// Instances are the names of the instances; there is at least one.
	Instances []string
	// Datasets are what every instance subscribes to; there is at least one.
	Datasets []string
	Log      *slog.Logger
}

// Ports are the ports to listen on; 0 takes a free one.
type Ports struct {
	NATS, Redis, Publisher, Relay int
	// Server is the port of the first instance; if it is not 0, each further one takes the next.
	Server int
}

// MaxInstances bounds the instances of one process: each holds every dataset in memory for itself.
const MaxInstances = 64

// ErrConfig is wrapped by every error of Run that refuses its Config.
var ErrConfig = errors.New("wrong configuration")

// validate says what is wrong with c.
func (c *Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("no folder is named to keep the data in")
	case len(c.Instances) < 1 || len(c.Instances) > MaxInstances:
		return fmt.Errorf("%d instances: want 1 to %d", len(c.Instances), MaxInstances)
	case len(c.Datasets) == 0:
		return errors.New("no dataset is named for the instances to subscribe to")
	}
	if err := settings.CheckNamespace(c.Namespace); err != nil {
		return err
	}
	for _, name := range c.Datasets {
		if err := dataset.CheckName(name); err != nil {
			return err
		}
	}
	for _, port := range []int{c.Ports.NATS, c.Ports.Redis, c.Ports.Publisher, c.Ports.Relay, c.Ports.server(len(c.Instances) - 1)} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("port %d: want 0 to 65535", port)
		}
	}
	return nil
}

func (p Ports) server(i int) int {
	if p.Server == 0 {
		return 0
	}
	return p.Server + i
}

// Addresses are the URLs at which everything listens.
type Addresses struct {
	NATS, Redis, Publisher, Relay string
	Instances                     []Instance
}

// Instance is one instance of the stack.
type Instance struct{ Name, URL string }

// PortError says that a part's port is taken.
type PortError struct {
	Part    string // nats, redis, publisher, relay or server
	Address string
}

func (e *PortError) Error() string {
	return fmt.Sprintf("cannot start %s on %s: another program has this port", title(e.Part), e.Address)
}

// title returns what a part is called in a sentence.
func title(part string) string {
	switch part {
	case "nats":
		return "NATS"
	case "redis":
		return "Redis"
	}
	return "the " + part
}

var (
	// ErrDir is wrapped when the data folder cannot be made or written.
	ErrDir = errors.New("cannot use the data folder")
	// ErrInUse is wrapped when another process runs on the same folder.
	ErrInUse = errors.New("another freshet runs on this folder")
)

// Run starts every part in turn, calls use once all of them listen, and stops them in reverse order when use returns.
// The context of use ends when ctx does, or when a part fails, which becomes Run's error. Nothing that Run started
// outlives it.
func Run(ctx context.Context, cfg Config, use func(ctx context.Context, at Addresses) error) (err error) {
	if err := cfg.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return fmt.Errorf("find the data folder: %w", err)
	}
	unlock, err := lock(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	s := newSupervisor(ctx)
	defer func() { err = s.stop(err) }()
	at, err := startAll(s, cfg)
	if err != nil {
		return err
	}
	return use(s.ctx, at)
}

// lock makes the folder and takes it for this process.
func lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDir, err)
	}
	held := flock.New(filepath.Join(dir, "lock"))
	ok, err := held.TryLock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDir, err)
	case !ok:
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	return held.Close, nil
}
