// Package stack runs all parts of freshet in this process: NATS, Redis, a publisher, a relay and instances. They communicate over
// loopback as they would between machines. Only the addresses and the folders are special.
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

// Config configures a stack.
type Config struct {
	// Dir is the folder for the store, the event log and the instances' caches. It is created if it does not exist. One process at a
	// time may use it.
	Dir string
	// Host is the address to listen on.
	Host  string
	Ports Ports
	// Namespace is the namespace of all services; empty is the default namespace.
	Namespace string
	// Instances are the names of the instances, at least one.
	Instances []string
	// Datasets are the datasets that every instance subscribes to, at least one.
	Datasets []string
	Log      *slog.Logger
}

// Ports are the ports to listen on; 0 selects a free port.
type Ports struct {
	NATS, Redis, Publisher, Relay int
	// Server is the port of the first instance. Unless it is 0, further instances use the next ports.
	Server int
}

// MaxInstances limits the instances of one process. Each instance holds every dataset in memory.
const MaxInstances = 64

// ErrConfig is wrapped by the errors of Run about its Config.
var ErrConfig = errors.New("wrong configuration")

// validate returns an error for the first wrong field of c.
func (c *Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("no folder is set for the data")
	case len(c.Instances) < 1 || len(c.Instances) > MaxInstances:
		return fmt.Errorf("%d instances: want 1 to %d", len(c.Instances), MaxInstances)
	case len(c.Datasets) == 0:
		return errors.New("no dataset is set for the instances")
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

// Addresses are the URLs of the parts.
type Addresses struct {
	NATS, Redis, Publisher, Relay string
	Instances                     []Instance
}

// Instance is one instance of the stack.
type Instance struct {
	Name, URL string
	// RESP is the address for Redis' protocol; empty without FRESHET_RESP_LISTEN.
	RESP string
}

// PortError is returned when another program listens on the port of a part.
type PortError struct {
	Part    string // nats, redis, publisher, relay or server
	Address string
}

func (e *PortError) Error() string {
	return fmt.Sprintf("cannot start %s on %s: another program listens on this port", title(e.Part), e.Address)
}

// title returns the name of a part in a sentence.
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
	// ErrDir is wrapped by the error for a data folder that cannot be created or written.
	ErrDir = errors.New("cannot use the data folder")
	// ErrInUse is wrapped by the error for a data folder that another process uses.
	ErrInUse = errors.New("another freshet process uses this folder")
)

// Run starts the parts one after the other, calls use when all of them listen, and stops them in reverse order when use returns. The
// context of use ends with ctx, or when a part fails; Run then returns the part's error. All parts have stopped when Run returns.
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

// lock creates the folder and locks it for this process.
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
