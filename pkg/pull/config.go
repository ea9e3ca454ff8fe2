package pull

import (
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// ErrConfig is wrapped by every error that refuses a [Config]. The message names the field.
var ErrConfig = errors.New("unusable pull configuration")

// Defaults of the fields of a [Config] that are zero.
const (
	DefaultHeaderTimeout  = 15 * time.Second
	DefaultStallTimeout   = 20 * time.Second
	DefaultMaxConnections = 16
	DefaultPatience       = 30 * time.Second
	DefaultDistrust       = 5 * time.Minute
)

const (
	// dialTimeout is short because relays are near, and because a black-holed relay delays the failover to the next
	// one by it.
	dialTimeout = 3 * time.Second
	tlsTimeout  = 5 * time.Second
	// idleTimeout outlasts the pause between the versions of a busy dataset, so that a small refresh need not dial.
	idleTimeout = 90 * time.Second
)

// Config says which relays to ask, and how long to wait for them.
type Config struct {
	// Relays are the base URLs of the relays (http or https), in any order. At least one. Clients that are to ask the
	// same relay for the same object write its URL the same way.
	Relays []string
	// HeaderTimeout bounds one relay's time from the start of the request to the end of the response's header, with
	// the wait for a free connection. Zero means DefaultHeaderTimeout.
	HeaderTimeout time.Duration
	// StallTimeout bounds each wait for more bytes of a response's body. Zero means DefaultStallTimeout.
	StallTimeout time.Duration
	// MaxConnections bounds the connections to each relay; a request beyond it waits for a free one. Zero means
	// DefaultMaxConnections.
	MaxConnections int
	// Patience bounds how long a pull of an object goes without a byte before it is given up: while relays say that
	// they are busy, and after a connection broke while they are down or silent. Each relay is asked at least once.
	// Zero means DefaultPatience.
	Patience time.Duration
	// Distrust is how long a relay that gave wrong bytes is asked only when no other is left. Zero means
	// DefaultDistrust.
	Distrust time.Duration
	// Refused, if not nil, is told of each relay that gave wrong bytes. It is called on the goroutine that reads the
	// body, so it must return at once, and may be called concurrently.
	Refused func(Refusal)
}

// Refusal says that a relay gave bytes that are not those of the object.
type Refusal struct {
	Relay  string // its base URL without its password
	Object dataset.Object
	// Err says how the bytes are wrong.
	Err error
}

func (c Config) withDefaults() Config {
	if c.HeaderTimeout == 0 {
		c.HeaderTimeout = DefaultHeaderTimeout
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = DefaultStallTimeout
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	if c.Distrust == 0 {
		c.Distrust = DefaultDistrust
	}
	return c
}

// Check says why c cannot be used; nil means that it can.
func (c Config) Check() error {
	switch {
	case len(c.Relays) == 0:
		return fmt.Errorf("%w: Relays is empty; give the base URL of at least one relay", ErrConfig)
	case c.HeaderTimeout < 0:
		return fmt.Errorf("%w: HeaderTimeout is %s; it must not be negative", ErrConfig, c.HeaderTimeout)
	case c.StallTimeout < 0:
		return fmt.Errorf("%w: StallTimeout is %s; it must not be negative", ErrConfig, c.StallTimeout)
	case c.MaxConnections < 0:
		return fmt.Errorf("%w: MaxConnections is %d; it must not be negative", ErrConfig, c.MaxConnections)
	case c.Patience < 0:
		return fmt.Errorf("%w: Patience is %s; it must not be negative", ErrConfig, c.Patience)
	case c.Distrust < 0:
		return fmt.Errorf("%w: Distrust is %s; it must not be negative", ErrConfig, c.Distrust)
	}
	for i, r := range c.Relays {
		if _, err := relays.Parse(r); err != nil {
			return fmt.Errorf("%w: Relays[%d] %w", ErrConfig, i, err)
		}
	}
	return nil
}
